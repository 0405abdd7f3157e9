// A library of late.c. STEP names its function and ROOM sizes its frame, so that two of them are alike
// from outside and walked by different rules.
#include "chain.h"

CHAIN static void STEP(unsigned depth, void (*leaf)(void)) {
	char room[ROOM];
	NEEDS(room);
	if (depth > 1)
		STEP(depth - 1, leaf);
	else
		leaf();
	KEEP;
}

CHAIN void enter(unsigned depth, void (*leaf)(void)) {
	STEP(depth, leaf);
	KEEP;
}
