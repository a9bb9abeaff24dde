/* libcrypt as the Passwords room sees it; that room is the only importer. */
#pragma once
#include <crypt.h>
