/* libidn2 as the IDNA room sees it; that room is the only importer. */
#pragma once
#include <idn2.h>
