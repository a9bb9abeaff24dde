/* libunbound as the DNS room sees it; that room is the only importer. */
#pragma once
/* Swift's Glibc module leaves eventfd out. */
#include <sys/eventfd.h>
#include <unbound.h>
