/* zlib as the Page room sees it; that room is the only importer. deflateInit2 is a macro, which Swift does not see. */
#pragma once
#include <zlib.h>

static inline int martlet_deflate_begin(z_stream *stream) {
    /* 31: the largest window, and a header of gzip around it. */
    return deflateInit2(stream, Z_BEST_COMPRESSION, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY);
}
