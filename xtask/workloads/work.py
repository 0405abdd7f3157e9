"""Keeps Python busy in its interpreter and in C, on two threads, and lets it wait now and then."""

import functools
import hashlib
import json
import re
import sqlite3
import threading
import time
import zlib


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def words():
    text = " ".join(f"word{n * 7919 % 1000}" for n in range(4000))
    counts = {}
    for word in re.findall(r"[a-z]+\d+", text):
        counts[word] = counts.get(word, 0) + 1
    by_count = lambda a, b: b[1] - a[1] or (a[0] > b[0]) - (a[0] < b[0])
    return sorted(counts.items(), key=functools.cmp_to_key(by_count))


def query():
    base = sqlite3.connect(":memory:")
    base.create_function("twice", 1, lambda n: n * 2)
    base.execute("create table item (id integer primary key, price integer)")
    base.executemany("insert into item values (?, ?)", ((n, n * 7) for n in range(2000)))
    return base.execute("select sum(twice(price)) from item where price % 3 = 1").fetchone()


def work():
    while True:
        fibonacci(17)
        text = json.dumps(words())
        json.loads(text)
        hashlib.sha256(zlib.compress(text.encode())).hexdigest()
        query()
        time.sleep(0.005)


threading.Thread(target=work, daemon=True).start()
work()
