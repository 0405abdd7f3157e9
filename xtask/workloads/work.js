// JavaScript that keeps node busy in its own code, in C++ and in the garbage collector, and lets it wait
// now and then.
'use strict';
const crypto = require('crypto');
const zlib = require('zlib');

const fibonacci = (n) => (n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2));

class Tree {
	constructor(depth) {
		this.value = Math.random();
		this.children = depth > 0 ? [new Tree(depth - 1), new Tree(depth - 1)] : [];
	}
	sum() {
		return this.children.reduce((sum, child) => sum + child.sum(), this.value);
	}
}

function words() {
	const text = Array.from({ length: 4000 }, (_, n) => `word${(n * 7919) % 1000}`).join(' ');
	const counts = new Map();
	for (const [word] of text.matchAll(/[a-z]+\d+/g)) counts.set(word, (counts.get(word) ?? 0) + 1);
	return [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
}

async function round() {
	fibonacci(22);
	new Tree(12).sum();
	const text = JSON.stringify(words());
	JSON.parse(text);
	crypto.createHash('sha256').update(zlib.gzipSync(text)).digest('hex');
	await new Promise((resolve) => setTimeout(resolve, 5));
}

(async () => {
	for (;;) await round();
})();
