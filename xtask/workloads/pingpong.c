/* Two threads hand a token to and fro: nothing but switches and wake-ups, the worst case for a tracer of
 * the scheduler.
 *
 * usage: pingpong futex|pipe ROUND_TRIPS      build: cc -O2 -fno-omit-frame-pointer -pthread
 *
 * Each line on standard input starts ROUND_TRIPS round trips; "done" is printed after them. The two threads
 * live from start to end, so their times and switches can be read from outside at any moment. Confined to one
 * CPU, a round trip is exactly two switches.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Callers below the loop: a stack as deep as that of a small program, so that it costs something to take. */
enum { CALLERS = 8 };

static int turn;
static int to_peer[2], to_main[2];
static int by_pipe;
static long round_trips;

static void hand_over(int to)
{
	if (by_pipe) {
		if (write(to ? to_peer[1] : to_main[1], "t", 1) != 1)
			abort();
		return;
	}
	__atomic_store_n(&turn, to, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void await(int me)
{
	char token;

	if (by_pipe) {
		if (read(me ? to_peer[0] : to_main[0], &token, 1) != 1)
			abort();
		return;
	}
	while (__atomic_load_n(&turn, __ATOMIC_SEQ_CST) != me)
		syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, !me, NULL, NULL, 0);
}

static void play_as_peer(void)
{
	for (;;) {
		await(1);
		hand_over(0);
	}
}

static void play_as_main(void)
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

__attribute__((noinline)) static void call(int callers, void (*play)(void))
{
	if (callers > 0)
		call(callers - 1, play);
	else
		play();
	/* Keeps the call above from becoming a jump. */
	__asm__ volatile("" ::: "memory");
}

static void *peer(void *unused)
{
	call(CALLERS, play_as_peer);
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc != 3 || (round_trips = atol(argv[2])) <= 0) {
		fprintf(stderr, "usage: pingpong futex|pipe ROUND_TRIPS\n");
		return 2;
	}
	by_pipe = strcmp(argv[1], "pipe") == 0;
	if (pipe(to_peer) || pipe(to_main) || pthread_create(&thread, NULL, peer, NULL))
		return 1;
	call(CALLERS, play_as_main);
	return 0;
}
