"""Two threads hand an item to and fro through queues, as a worker pool does.

usage: handover.py ROUND_TRIPS

Each line on standard input starts ROUND_TRIPS round trips; "done" is printed after them.
"""

import queue
import sys
import threading

to_worker, to_main = queue.Queue(), queue.Queue()


def work():
    while True:
        to_main.put(to_worker.get())


threading.Thread(target=work, daemon=True).start()
for _ in sys.stdin:
    for item in range(int(sys.argv[1])):
        to_worker.put(item)
        to_main.get()
    print("done", flush=True)
