// One thread that spends its CPU time in three functions, 60, 30 and 10 percent. Usage: shares SECONDS
//
// Its own CPU clock decides who is next, the one that is furthest behind its share, and is read
// outside of the three. Prints `TRUTH function=… cpu_ns=…` for each.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define FUNCTIONS 3
// Each with a number of its own: the compiler makes one function of equal ones.
#define SPENDER(name, increment) \
	__attribute__((noinline)) unsigned name(unsigned seed, unsigned turns) { \
		for (unsigned i = 0; i < turns; i++) \
			seed = seed * 1664525u + increment; \
		return seed; \
	}

SPENDER(spends_sixty, 1013904223u)
SPENDER(spends_thirty, 12345u)
SPENDER(spends_ten, 2531011u)

static long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

int main(int count, char **arguments) {
	unsigned (*functions[FUNCTIONS])(unsigned, unsigned) = {spends_sixty, spends_thirty, spends_ten};
	const char *names[FUNCTIONS] = {"spends_sixty", "spends_thirty", "spends_ten"};
	const long shares[FUNCTIONS] = {60, 30, 10};
	long spent[FUNCTIONS] = {0};
	struct timespec start, at;
	clock_gettime(CLOCK_MONOTONIC, &start);
	double seconds = count > 1 ? atof(arguments[1]) : 1;
	volatile unsigned seed = 1;
	unsigned random = 1;
	do {
		int next = 0;
		for (int i = 1; i < FUNCTIONS; i++)
			if (spent[i] / shares[i] < spent[next] / shares[next])
				next = i;
		// From 0.1 to 0.6 ms, never twice the same: a regular order would keep step with the samples.
		random = random * 1103515245u + 12345u;
		unsigned turns = 100000 + random / 16 % 400000;
		long before = now();
		seed = functions[next](seed, turns);
		spent[next] += now() - before;
		clock_gettime(CLOCK_MONOTONIC, &at);
	} while ((at.tv_sec - start.tv_sec) + (at.tv_nsec - start.tv_nsec) / 1e9 < seconds);
	for (int i = 0; i < FUNCTIONS; i++)
		printf("TRUTH function=%s cpu_ns=%ld\n", names[i], spent[i]);
	return 0;
}
