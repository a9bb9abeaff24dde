/* The state of the kernel's clock, for the doctor; Swift's Glibc module leaves it out. */
#pragma once
#include <sys/timex.h>
