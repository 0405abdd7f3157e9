// Eight paths to the same leaf that differ in return addresses alone: `left` and `right` are the same code
// with the same frames, far from the leaf. Each path is taken in turn, and sleeps once.
#include "chain.h"

static void turn(unsigned depth, unsigned path);

CHAIN static void leaf(void) {
	burn(4);
	doze(300);
	KEEP;
}

CHAIN static void descend(unsigned depth) {
	if (depth > 1)
		descend(depth - 1);
	else
		leaf();
	KEEP;
}

CHAIN static void left(unsigned depth, unsigned path) {
	turn(depth - 1, path);
	KEEP;
}

CHAIN static void right(unsigned depth, unsigned path) {
	turn(depth - 1, path);
	KEEP;
}

CHAIN static void turn(unsigned depth, unsigned path) {
	if (depth == 0)
		descend(10);
	else if (path >> (depth - 1) & 1)
		right(depth, path);
	else
		left(depth, path);
	KEEP;
}

int main(void) {
	for (unsigned path = 0;; path++)
		turn(3, path % 8);
}
