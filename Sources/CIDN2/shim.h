/* libidn2 as the room Mail sees it; that room is the only importer. */
#pragma once
#include <idn2.h>
