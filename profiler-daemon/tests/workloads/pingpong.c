// Two threads on CPU 0 hand a token to and fro. Usage: pingpong futex|pipe|socket ROUND_TRIPS
//
// Every round trip is two blocks, two wake-ups and two switches: the worst case for whoever watches
// the scheduler.
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int turn, by_futex, in[2], out[2];
static long round_trips;

static void give(int me) {
	__atomic_store_n(&turn, !me, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void take(int me) {
	while (__atomic_load_n(&turn, __ATOMIC_SEQ_CST) != me)
		syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, !me, NULL, NULL, 0);
}

static void *run(void *argument) {
	int me = (int)(long)argument;
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof set, &set);
	for (long i = 0; i < round_trips; i++) {
		char token = 0;
		if (by_futex) {
			take(me);
			give(me);
		} else if (me) {
			if (write(out[me], &token, 1) != 1 || read(in[me], &token, 1) != 1)
				abort();
		} else if (read(in[me], &token, 1) != 1 || write(out[me], &token, 1) != 1) {
			abort();
		}
	}
	return NULL;
}

int main(int count, char **arguments) {
	if (count != 3)
		return 2;
	by_futex = strcmp(arguments[1], "futex") == 0;
	round_trips = atol(arguments[2]);
	int a[2], b[2];
	if (strcmp(arguments[1], "socket") == 0) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, a))
			return 1;
		in[0] = out[0] = a[0];
		in[1] = out[1] = a[1];
	} else {
		if (pipe(a) || pipe(b))
			return 1;
		in[0] = a[0], out[1] = a[1];
		in[1] = b[0], out[0] = b[1];
	}
	pthread_t threads[2];
	for (long i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, run, (void *)i);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
