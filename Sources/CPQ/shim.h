/* libpq as the room Database sees it; that room is the only importer. */
#pragma once
#include <libpq-fe.h>
