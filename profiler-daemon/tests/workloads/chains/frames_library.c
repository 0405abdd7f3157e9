// The functions behind the stubs of frames.c.
#include "chain.h"

CHAIN int tiny_a(int n) { return n + 1; }
CHAIN int tiny_b(int n) { return n * 3; }
CHAIN int tiny_c(int n) { return n ^ 5; }
