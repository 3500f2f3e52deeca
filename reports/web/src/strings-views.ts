// SPDX-License-Identifier: MIT
/* The texts of what looks at the same data from another side; merged in strings.ts. */

export const viewsEn = {
	'metric.grown': 'Grown',
	'metric.how.grown': 'By how much it was more at the end of the chosen range than at its begin',
	'flame.once': 'Collapse recursion',
	'flame.least': 'From',
	'flame.least.all': 'all',
	'flame.below': '({0} smaller)',
	'flame.range': 'Chosen range',
	'flame.range.of': 'From {0} to {1}: live at its end, grown and allocated within it.',
	'flame.range.not': '“{0}” is of the whole run.',
	'flame.both': 'Callers and callees of {0}',
	'flame.both.end': 'All calls',
	'flame.both.none': '{0} has no share of this.',
	'flame.both.callers': 'Who calls {0}: {1}',
	'flame.both.callees': 'What {0} calls',
};

export const viewsZh: Record<keyof typeof viewsEn, string> = {
	'metric.grown': '增长',
	'metric.how.grown': '所选区间结束时比开始时多出的部分',
	'flame.once': '合并递归',
	'flame.least': '不小于',
	'flame.least.all': '全部',
	'flame.below': '（{0} 个更小的）',
	'flame.range': '所选区间',
	'flame.range.of': '从 {0} 到 {1}：区间结束时的存活量，以及其间的增长与分配。',
	'flame.range.not': '“{0}”针对整个运行过程。',
	'flame.both': '{0} 的调用者与被调用者',
	'flame.both.end': '全部调用',
	'flame.both.none': '{0} 在此指标中没有份额。',
	'flame.both.callers': '谁调用 {0}：{1}',
	'flame.both.callees': '{0} 调用了什么',
};
