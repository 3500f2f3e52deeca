// SPDX-License-Identifier: MIT
/* A reporter for node:test that writes flat TAP: one line a test, how long it took and what went wrong as comments. */
export default async function* tap(source) {
	let n = 0;
	yield 'TAP version 13\n';
	for await (const { type, data } of source) {
		if ((type !== 'test:pass' && type !== 'test:fail') || data.nesting > 0) continue;
		n++;
		const name = data.name.replace(/[#\\]/g, ' ');
		const skip = data.skip !== undefined && data.skip !== false ? ` # SKIP ${data.skip}` : '';
		yield `${type === 'test:pass' ? 'ok' : 'not ok'} ${n} - ${name}${skip}\n`;
		yield `# ${(data.details.duration_ms / 1000).toFixed(1)} s\n`;
		if (type === 'test:fail') {
			const error = data.details?.error;
			const text = String(error?.cause?.stack ?? error?.cause ?? error?.stack ?? error);
			yield text.split('\n').map((line) => `# ${line}\n`).join('');
		}
	}
	yield `1..${n}\n`;
}
