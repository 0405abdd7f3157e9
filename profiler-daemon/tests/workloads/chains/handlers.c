// SIGALRM each millisecond interrupts a loop, a sleep, or a function of one instruction; the handler works,
// sleeps and returns. Usage: handlers here|elsewhere: it runs on the same stack or on one of its own.
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "chain.h"

CHAIN static void handler_leaf(void) {
	burn(5);
	doze(100);
	KEEP;
}

CHAIN static void on_alarm(int number) {
	(void)number;
	handler_leaf();
	KEEP;
}

CHAIN static void interrupted_loop(void) {
	for (unsigned long i = 0; i < 10000000; i++)
		KEEP;
}

// Wherever this is interrupted, the byte before belongs to no function.
CHAIN static void empty(void) {}

CHAIN static void interrupted_entries(void) {
	for (unsigned long i = 0; i < 5000000; i++)
		empty();
}

CHAIN static void interrupted_sleep(void) {
	// Interrupted each millisecond, so this is some twenty alarms.
	for (int i = 0; i < 20; i++)
		doze(20000);
}

CHAIN static void caller(unsigned depth) {
	if (depth > 1) {
		caller(depth - 1);
	} else {
		interrupted_loop();
		interrupted_entries();
		interrupted_sleep();
	}
	KEEP;
}

int main(int count, char **arguments) {
	struct sigaction action = {.sa_handler = on_alarm};
	if (count == 2 && !strcmp(arguments[1], "elsewhere")) {
		stack_t own = {.ss_size = 1 << 16, .ss_sp = malloc(1 << 16)};
		if (!own.ss_sp || sigaltstack(&own, NULL))
			return 1;
		action.sa_flags = SA_ONSTACK;
	}
	struct itimerval each = {{0, 1000}, {0, 1000}};
	if (sigaction(SIGALRM, &action, NULL) || setitimer(ITIMER_REAL, &each, NULL))
		return 1;
	for (;;)
		caller(10);
}
