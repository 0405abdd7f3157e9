// What the programs of known chains share. Every function that is part of a chain is a frame of its
// own: CHAIN keeps the compiler from inlining, cloning or renaming it, and KEEP behind a call keeps the
// call from becoming a jump.
//
// A chain ends in `burn` (on-CPU) or in `doze` (off-CPU), which take turns for as long as the program
// runs. What lies between two chains takes microseconds of the milliseconds spent at their ends.
#pragma once
#include <time.h>

#define CHAIN __attribute__((noipa))
#define KEEP __asm__ volatile("" ::: "memory")
// The array is there, and so is the room that it takes.
#define NEEDS(array) __asm__ volatile("" ::"r"(array) : "memory")

#ifdef __cplusplus
extern "C" {
#endif

// Some 50 us for each unit of `work` on today's machines.
CHAIN __attribute__((unused)) static void burn(unsigned work) {
	for (unsigned long i = 0; i < work * 50000ul; i++)
		KEEP;
}

CHAIN __attribute__((unused)) static void doze(unsigned us) {
	struct timespec t = {0, us * 1000};
	nanosleep(&t, NULL);
	KEEP;
}

#ifdef __cplusplus
}
#endif
