// SPDX-License-Identifier: MIT
/*
 * The first script of the page: sets the theme before the first paint, so that a dark page never
 * flashes white. Everything else waits for start.tsx.
 */
const named = /[#&]theme=(light|dark)/.exec(location.hash)?.[1];
let stored: string | null = null;
try {
	stored = localStorage.getItem('fragtrace.theme');
} catch {
	// storage can be forbidden for file: pages; the system's preference then decides
}
const theme = named ?? stored;
if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
