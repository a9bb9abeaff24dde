/* The text of openapi.yaml, as it stands at the top of the project, inside the program. By the preprocessor, because a
 * package may embed only what lies in a target's own folder, and as a literal of 75 000 numbers that took 20 s to compile.
 * The Admin room is the only importer. */
#pragma once
#include <stddef.h>

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wc23-extensions"

static inline const unsigned char *martlet_contract(size_t *count) {
    static const unsigned char bytes[] = {
#embed "../../openapi.yaml"
    };
    *count = sizeof bytes;
    return bytes;
}

#pragma clang diagnostic pop
