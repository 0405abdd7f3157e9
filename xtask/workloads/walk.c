/* Stacks of a given depth in code without frame pointers: what it costs to walk them.
 *
 * usage: walk DEPTH                build: cc -O2 -g -fomit-frame-pointer -pthread
 *        walk DEPTH vary
 *        walk DEPTH futex ROUND_TRIPS
 *
 * DEPTH counts all frames from the innermost function to _start. The first form computes for ever at one stack,
 * the second one at stacks of which hardly two are equal, each for some 100 us. In the third one two threads hand a token to and fro by futex: each line on standard input starts ROUND_TRIPS round
 * trips, and "done" is printed after them.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* `main` and its three callers, of the C library; a thread's first function and its two callers. */
enum { BELOW = 4, BELOW_THREAD = 3, KINDS = 16 };

typedef void leaf(void);
typedef void level(int, leaf *);

static level *const levels[KINDS];
static unsigned seed = 1;
static int varies;
static int turn;
static long round_trips;
static volatile unsigned sink;

/* Which function comes next: as on real stacks they differ in code and in the size of their frames. */
static unsigned next_kind(int depth)
{
	if (!varies)
		return depth % KINDS;
	seed = seed * 1664525 + 1013904223;
	return seed >> 28;
}

#define LEVEL(number, words)                                                  \
	__attribute__((noinline)) static void level##number(int depth, leaf *last) \
	{                                                                     \
		volatile long room[words];                                    \
		room[0] = depth;                                              \
		if (depth > 1)                                                \
			levels[next_kind(depth)](depth - 1, last);            \
		else                                                          \
			last();                                               \
		sink += room[0];                                              \
	}

LEVEL(0, 1) LEVEL(1, 4) LEVEL(2, 9) LEVEL(3, 16) LEVEL(4, 2) LEVEL(5, 7) LEVEL(6, 12) LEVEL(7, 3)
LEVEL(8, 5) LEVEL(9, 21) LEVEL(10, 6) LEVEL(11, 8) LEVEL(12, 1) LEVEL(13, 10) LEVEL(14, 30) LEVEL(15, 2)

static level *const levels[KINDS] = {
	level0, level1, level2, level3, level4, level5, level6, level7,
	level8, level9, level10, level11, level12, level13, level14, level15,
};

__attribute__((noinline)) static void compute(void)
{
	for (int i = 0; i < 50000; i++)
		sink = sink * 3 + i;
}

static void futex(int operation, int value)
{
	syscall(SYS_futex, &turn, operation, value, NULL, NULL, 0);
}

static void hand_over(int to)
{
	__atomic_store_n(&turn, to, __ATOMIC_SEQ_CST);
	futex(FUTEX_WAKE_PRIVATE, 1);
}

static void await(int me)
{
	while (__atomic_load_n(&turn, __ATOMIC_SEQ_CST) != me)
		futex(FUTEX_WAIT_PRIVATE, !me);
}

__attribute__((noinline)) static void play_as_peer(void)
{
	for (;;) {
		await(1);
		hand_over(0);
	}
}

__attribute__((noinline)) static void play_as_main(void)
{
	char line[16];

	while (fgets(line, sizeof line, stdin)) {
		for (long trip = 0; trip < round_trips; trip++) {
			hand_over(1);
			await(0);
		}
		puts("done");
		fflush(stdout);
	}
}

static void *peer(void *depth)
{
	/* The innermost frames are the function itself and the library's system call. */
	levels[0](*(int *)depth - BELOW_THREAD - 2, play_as_peer);
	return NULL;
}

int main(int argc, char **argv)
{
	int depth = argc > 1 ? atoi(argv[1]) : 0;
	pthread_t thread;

	if (depth < 8) {
		fprintf(stderr, "usage: walk DEPTH [vary | futex ROUND_TRIPS], of 8 frames at least\n");
		return 2;
	}
	if (argc == 4 && strcmp(argv[2], "futex") == 0) {
		round_trips = atol(argv[3]);
		if (pthread_create(&thread, NULL, peer, &depth))
			return 1;
		levels[0](depth - BELOW - 2, play_as_main);
		return 0;
	}
	varies = argc == 3;
	for (;;)
		levels[0](depth - BELOW - 1, compute);
}
