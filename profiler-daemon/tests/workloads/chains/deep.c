// Recursion of depth 110, and of depth 200, each with its own leaf and frame size.
#include "chain.h"

CHAIN static void leaf_of_110(void) {
	burn(30);
	doze(1000);
	KEEP;
}

CHAIN static void leaf_of_200(void) {
	burn(30);
	doze(1000);
	KEEP;
}

CHAIN static void down(unsigned depth) {
	char room[72];
	NEEDS(room);
	if (depth == 1)
		leaf_of_110();
	else
		down(depth - 1);
	KEEP;
}

CHAIN static void further(unsigned depth, long a, long b, long c) {
	if (depth == 1)
		leaf_of_200();
	else
		further(depth - 1, b, c, a + b);
	KEEP;
	// Used after the call, so they are kept in saved registers.
	__asm__ volatile("" ::"r"(a), "r"(b), "r"(c));
}

int main(void) {
	for (;;) {
		down(110);
		further(200, 1, 2, 3);
	}
}
