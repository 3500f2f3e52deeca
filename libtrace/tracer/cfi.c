/* SPDX-License-Identifier: MIT */
/*
 * Unwind rules from call frame information: see tr_cfi.h
 *
 * The tables are the program's own and mapped read-only; still every read is checked against the
 * end of its record, because a tracer must survive a damaged module.
 */
#include "tr_cfi.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* DWARF numbers of the registers that rules speak of. */
enum { REG_RBP = 6, REG_RSP = 7, REG_RA = 16 };

/* Pointer encodings of .eh_frame (LSB 10.5.1). */
enum {
	PE_ABSPTR = 0x00,
	PE_ULEB128 = 0x01,
	PE_UDATA2 = 0x02,
	PE_UDATA4 = 0x03,
	PE_UDATA8 = 0x04,
	PE_SLEB128 = 0x09,
	PE_SDATA2 = 0x0a,
	PE_SDATA4 = 0x0b,
	PE_SDATA8 = 0x0c,
	PE_PCREL = 0x10,
	PE_DATAREL = 0x30,
	PE_INDIRECT = 0x80,
	PE_OMIT = 0xff,
};

/* ---- bytes with an end
 * ---------------------------------------------------------------------------- */

struct span {
	const uint8_t *at, *end;
	bool failed; /* something ran past the end: all that was read since is 0 */
};

static uint64_t span_fixed(struct span *s, size_t n)
{
	uint64_t value = 0;

	if ((size_t)(s->end - s->at) < n) {
		s->failed = true;
		s->at = s->end;
		return 0;
	}
	memcpy(&value, s->at, n); /* little-endian, as x86-64 is */
	s->at += n;
	return value;
}

static int64_t span_signed(struct span *s, size_t n)
{
	unsigned shift = 64 - 8 * (unsigned)n;

	return (int64_t)(span_fixed(s, n) << shift) >> shift;
}

static uint64_t span_uleb(struct span *s)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint64_t byte = span_fixed(s, 1);

		value |= (byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	s->failed = true;
	return 0;
}

static int64_t span_sleb(struct span *s)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64;) {
		uint64_t byte = span_fixed(s, 1);

		value |= (byte & 0x7f) << shift;
		shift += 7;
		if (!(byte & 0x80)) {
			if ((byte & 0x40) && shift < 64)
				value |= ~UINT64_C(0) << shift;
			return (int64_t)value;
		}
	}
	s->failed = true;
	return 0;
}

/* An encoded pointer; `data` is the base of datarel. Indirect ones are not followed: nothing here
 * needs their target. */
static uintptr_t span_encoded(struct span *s, uint8_t encoding, uintptr_t data)
{
	uintptr_t base = 0;
	uint64_t value;

	switch (encoding & 0x70) {
	case PE_PCREL:
		base = (uintptr_t)s->at;
		break;
	case PE_DATAREL:
		base = data;
		break;
	case 0:
		break;
	default:
		s->failed = true;
		return 0;
	}
	switch (encoding & 0x0f) {
	case PE_ABSPTR:
	case PE_UDATA8:
	case PE_SDATA8:
		value = span_fixed(s, 8);
		break;
	case PE_UDATA4:
		value = span_fixed(s, 4);
		break;
	case PE_SDATA4:
		value = (uint64_t)span_signed(s, 4);
		break;
	case PE_UDATA2:
		value = span_fixed(s, 2);
		break;
	case PE_SDATA2:
		value = (uint64_t)span_signed(s, 2);
		break;
	case PE_ULEB128:
		value = span_uleb(s);
		break;
	case PE_SLEB128:
		value = (uint64_t)span_sleb(s);
		break;
	default:
		s->failed = true;
		return 0;
	}
	return base + (uintptr_t)value;
}

/* ---- records of .eh_frame
 * -------------------------------------------------------------------------- */

struct cie {
	uint64_t code_align;
	int64_t data_align;
	uint8_t fde_encoding;
	bool signal_frame, has_augmentation_data;
	struct span program; /* the initial instructions */
};

/* The body of the CIE or FDE at `at` (after its length), or a failed span. The table itself has no
 * known end here; a record says its own length. */
static struct span record_body(const uint8_t *at)
{
	struct span head = {.at = at, .end = at + 12};
	uint64_t length = span_fixed(&head, 4);

	if (length == 0xffffffff)
		length = span_fixed(&head, 8);
	/* No compiler writes a record of 16 MiB: a length like that is damage. */
	if (!length || length >= 1 << 24)
		return (struct span){.at = at, .end = at, .failed = true};
	return (struct span){.at = head.at, .end = head.at + length};
}

static bool cie_parse(const uint8_t *at, struct cie *cie)
{
	struct span s = record_body(at);

	*cie = (struct cie){.fde_encoding = PE_ABSPTR};
	if (span_fixed(&s, 4) != 0 || s.failed)
		return false;

	uint64_t version = span_fixed(&s, 1);

	if (version != 1 && version != 3)
		return false;

	const char *augmentation = (const char *)s.at;

	while (span_fixed(&s, 1))
		;
	cie->code_align = span_uleb(&s);
	cie->data_align = span_sleb(&s);
	if ((version == 1 ? span_fixed(&s, 1) : span_uleb(&s)) != REG_RA || s.failed)
		return false;
	if (*augmentation == 'z') {
		uint64_t length = span_uleb(&s);

		if (s.failed || length > (size_t)(s.end - s.at))
			return false;

		const uint8_t *after = s.at + length;

		cie->has_augmentation_data = true;
		for (const char *c = augmentation + 1; *c; c++) {
			if (*c == 'R')
				cie->fde_encoding = (uint8_t)span_fixed(&s, 1);
			else if (*c == 'P')
				span_encoded(&s, span_fixed(&s, 1) & 0x7f, 0);
			else if (*c == 'L')
				span_fixed(&s, 1);
			else if (*c == 'S')
				cie->signal_frame = true;
			else
				break; /* an augmentation that we don't know: its data is skipped */
		}
		s.at = after;
	} else if (*augmentation) {
		return false;
	}
	cie->program = s;
	return !s.failed;
}

/* The FDE that covers `pc`, by binary search in .eh_frame_hdr; NULL when there is none. */
static const uint8_t *fde_find(const uint8_t *hdr, uintptr_t pc)
{
	struct span s = {.at = hdr, .end = hdr + 32};
	uint64_t version = span_fixed(&s, 1);
	uint8_t frame_encoding = (uint8_t)span_fixed(&s, 1);
	uint8_t count_encoding = (uint8_t)span_fixed(&s, 1);
	uint8_t table_encoding = (uint8_t)span_fixed(&s, 1);

	/* Every linker writes this one table form. */
	if (version != 1 || count_encoding == PE_OMIT || table_encoding != (PE_DATAREL | PE_SDATA4))
		return NULL;
	span_encoded(&s, frame_encoding, (uintptr_t)hdr);

	size_t count = span_encoded(&s, count_encoding, (uintptr_t)hdr);

	if (s.failed || !count)
		return NULL;

	const uint8_t *table = s.at;
	size_t low = 0, high = count;
	int32_t entry[2];

	/* The last entry that starts at or below pc. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		memcpy(entry, table + middle * 8, sizeof(entry));
		if ((uintptr_t)hdr + (uintptr_t)(intptr_t)entry[0] <= pc)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return NULL;
	memcpy(entry, table + (low - 1) * 8, sizeof(entry));
	return hdr + entry[1];
}

/* ---- the call frame program
 * ------------------------------------------------------------------------ */

enum saved_kind { SAVED_SAME, SAVED_AT_CFA, SAVED_AT_RBP, SAVED_UNDEFINED, SAVED_OTHER };

struct saved {
	enum saved_kind kind;
	int64_t offset;
};

enum cfa_kind { CFA_REG, CFA_DEREF_RBP, CFA_PLT, CFA_OTHER };

struct row {
	enum cfa_kind cfa_kind;
	uint64_t cfa_reg;
	int64_t cfa_offset;
	struct saved rbp, ra;
};

enum { MAX_REMEMBERED = 8 };

struct machine {
	const struct cie *cie;
	struct row row, initial; /* `initial`: after the CIE's program, for DW_CFA_restore */
	struct row remembered[MAX_REMEMBERED];
	unsigned n_remembered;
	uint64_t location, pc;
	bool failed;
};

static struct saved *row_saved(struct row *row, uint64_t reg)
{
	return reg == REG_RBP ? &row->rbp : reg == REG_RA ? &row->ra : NULL;
}

static void set_saved(struct machine *m, uint64_t reg, enum saved_kind kind, int64_t offset)
{
	struct saved *saved = row_saved(&m->row, reg);

	if (saved)
		*saved = (struct saved){.kind = kind, .offset = offset};
	else if (reg == REG_RSP && kind != SAVED_SAME)
		m->row.cfa_kind = CFA_OTHER; /* the caller's rsp is not the CFA: not our form */
}

static void restore_saved(struct machine *m, uint64_t reg)
{
	struct saved *saved = row_saved(&m->row, reg);

	if (saved)
		*saved = *row_saved(&m->initial, reg);
}

/* DWARF operators that the two known CFA expressions are made of. */
enum {
	OP_DEREF = 0x06,
	OP_AND = 0x1a,
	OP_PLUS = 0x22,
	OP_SHL = 0x24,
	OP_GE = 0x2a,
	OP_LIT0 = 0x30,
	OP_BREG0 = 0x70
};

/* A CFA expression: `breg6 N; deref` (realigned stack) or the linkers' PLT expression. */
static void set_cfa_expression(struct machine *m, struct span e)
{
	static const uint8_t plt[] = {
		OP_BREG0 + REG_RSP, 8,	   OP_BREG0 + REG_RA, 0,      OP_LIT0 + 15, OP_AND,
		OP_LIT0 + 11,	    OP_GE, OP_LIT0 + 3,	      OP_SHL, OP_PLUS,
	};
	size_t length = (size_t)(e.end - e.at);

	m->row.cfa_kind = CFA_OTHER;
	if (length == sizeof(plt) && !memcmp(e.at, plt, length)) {
		m->row.cfa_kind = CFA_PLT;
	} else if (length >= 3 && span_fixed(&e, 1) == OP_BREG0 + REG_RBP) {
		int64_t offset = span_sleb(&e);

		if (span_fixed(&e, 1) == OP_DEREF && e.at == e.end && !e.failed) {
			m->row.cfa_kind = CFA_DEREF_RBP;
			m->row.cfa_offset = offset;
		}
	}
}

/* A register saved where an expression says: only `breg6 N` is our form. */
static void set_saved_expression(struct machine *m, uint64_t reg, struct span e)
{
	if (span_fixed(&e, 1) == OP_BREG0 + REG_RBP) {
		int64_t offset = span_sleb(&e);

		if (e.at == e.end && !e.failed) {
			set_saved(m, reg, SAVED_AT_RBP, offset);
			return;
		}
	}
	set_saved(m, reg, SAVED_OTHER, 0);
}

/* A block: a ULEB length and that many bytes. */
static struct span span_block(struct span *s)
{
	uint64_t length = span_uleb(s);
	struct span block = {.at = s->at, .end = s->at};

	if (length > (size_t)(s->end - s->at)) {
		s->failed = block.failed = true;
		return block;
	}
	block.end = s->at += length;
	return block;
}

static void remember(struct machine *m)
{
	if (m->n_remembered == MAX_REMEMBERED)
		m->failed = true;
	else
		m->remembered[m->n_remembered++] = m->row;
}

static void recall(struct machine *m)
{
	if (!m->n_remembered)
		m->failed = true;
	else
		m->row = m->remembered[--m->n_remembered];
}

static void set_cfa(struct machine *m, uint64_t reg, int64_t offset)
{
	m->row.cfa_kind = CFA_REG;
	m->row.cfa_reg = reg;
	m->row.cfa_offset = offset;
}

/* The instructions with a whole opcode byte (DWARF 5, 7.24); false for one that we don't know. */
static bool run_extended(struct machine *m, struct span *s, unsigned op)
{
	int64_t data_align = m->cie->data_align;
	uint64_t reg;

	switch (op) {
	case 0x00: /* nop */
		return true;
	case 0x01: /* set_loc */
		m->location = span_encoded(s, m->cie->fde_encoding, 0);
		return true;
	case 0x02: /* advance_loc1, 2, 4 */
		m->location += span_fixed(s, 1) * m->cie->code_align;
		return true;
	case 0x03:
		m->location += span_fixed(s, 2) * m->cie->code_align;
		return true;
	case 0x04:
		m->location += span_fixed(s, 4) * m->cie->code_align;
		return true;
	case 0x05: /* offset_extended */
		reg = span_uleb(s);
		set_saved(m, reg, SAVED_AT_CFA, (int64_t)span_uleb(s) * data_align);
		return true;
	case 0x06: /* restore_extended */
		restore_saved(m, span_uleb(s));
		return true;
	case 0x07: /* undefined */
		set_saved(m, span_uleb(s), SAVED_UNDEFINED, 0);
		return true;
	case 0x08: /* same_value */
		set_saved(m, span_uleb(s), SAVED_SAME, 0);
		return true;
	case 0x09: /* register */
		reg = span_uleb(s);
		span_uleb(s);
		set_saved(m, reg, SAVED_OTHER, 0);
		return true;
	case 0x0a:
		remember(m);
		return true;
	case 0x0b:
		recall(m);
		return true;
	case 0x0c: /* def_cfa */
		reg = span_uleb(s);
		set_cfa(m, reg, (int64_t)span_uleb(s));
		return true;
	case 0x0d: /* def_cfa_register */
		set_cfa(m, span_uleb(s), m->row.cfa_offset);
		return true;
	case 0x0e: /* def_cfa_offset */
		m->row.cfa_offset = (int64_t)span_uleb(s);
		return true;
	case 0x0f: /* def_cfa_expression */
		set_cfa_expression(m, span_block(s));
		return true;
	case 0x10: /* expression */
		reg = span_uleb(s);
		set_saved_expression(m, reg, span_block(s));
		return true;
	case 0x11: /* offset_extended_sf */
		reg = span_uleb(s);
		set_saved(m, reg, SAVED_AT_CFA, span_sleb(s) * data_align);
		return true;
	case 0x12: /* def_cfa_sf */
		reg = span_uleb(s);
		set_cfa(m, reg, span_sleb(s) * data_align);
		return true;
	case 0x13: /* def_cfa_offset_sf */
		m->row.cfa_offset = span_sleb(s) * data_align;
		return true;
	case 0x14: /* val_offset, val_offset_sf */
	case 0x15:
		reg = span_uleb(s);
		span_uleb(s);
		set_saved(m, reg, SAVED_OTHER, 0);
		return true;
	case 0x16: /* val_expression */
		reg = span_uleb(s);
		span_block(s);
		set_saved(m, reg, SAVED_OTHER, 0);
		return true;
	case 0x2e: /* GNU_args_size */
		span_uleb(s);
		return true;
	default:
		return false;
	}
}

/* Run a program until its end or until the row that holds at `pc` is complete. */
static void run(struct machine *m, struct span s)
{
	while (s.at < s.end && !s.failed && !m->failed) {
		unsigned op = (unsigned)span_fixed(&s, 1), low = op & 0x3f;

		switch (op & 0xc0) {
		case 0x40: /* advance_loc */
			m->location += low * m->cie->code_align;
			break;
		case 0x80: /* offset */
			set_saved(m, low, SAVED_AT_CFA,
				  (int64_t)span_uleb(&s) * m->cie->data_align);
			break;
		case 0xc0: /* restore */
			restore_saved(m, low);
			break;
		default:
			if (!run_extended(m, &s, op))
				m->failed = true;
		}
		if (m->location > m->pc)
			return;
	}
	m->failed |= s.failed;
}

/* ---- rules
 * ------------------------------------------------------------------------------------------ */

static tr_rule rule_make(enum tr_rule_kind kind, int64_t cfa, enum tr_rbp_kind rbp_kind,
			 int64_t rbp)
{
	int64_t cfa_words = cfa / 8, rbp_words = rbp_kind == TR_RBP_SAME ? -1 : rbp / 8;

	if (cfa % 8 || cfa_words < -(1 << 23) || cfa_words >= 1 << 23 || rbp % 8 ||
	    rbp_words != (int16_t)rbp_words)
		return TR_RULE_UNSUPPORTED;
	/* A frame has room for the return address, and what it saves lies in it. */
	if (kind == TR_RULE_CFA_RSP &&
	    (cfa_words < 1 || (rbp_kind == TR_RBP_AT_CFA && rbp_words < -cfa_words)))
		return TR_RULE_UNSUPPORTED;
	if (rbp_kind == TR_RBP_AT_CFA && rbp_words >= 0)
		return TR_RULE_UNSUPPORTED;
	return (tr_rule)kind | (tr_rule)rbp_kind << 4 | (tr_rule)(uint16_t)rbp_words << 24 |
	       (tr_rule)(cfa_words & 0xffffff) << 40;
}

static tr_rule row_rule(const struct row *row)
{
	enum tr_rule_kind kind;
	enum tr_rbp_kind rbp_kind;

	if (row->ra.kind == SAVED_UNDEFINED)
		return TR_RULE_END;
	if (row->ra.kind != SAVED_AT_CFA || row->ra.offset != -8)
		return TR_RULE_UNSUPPORTED;

	if (row->cfa_kind == CFA_REG && row->cfa_reg == REG_RSP)
		kind = TR_RULE_CFA_RSP;
	else if (row->cfa_kind == CFA_REG && row->cfa_reg == REG_RBP)
		kind = TR_RULE_CFA_RBP;
	else if (row->cfa_kind == CFA_DEREF_RBP)
		kind = TR_RULE_CFA_DEREF;
	else if (row->cfa_kind == CFA_PLT)
		kind = TR_RULE_CFA_PLT;
	else
		return TR_RULE_UNSUPPORTED;

	if (row->rbp.kind == SAVED_SAME || row->rbp.kind == SAVED_UNDEFINED)
		rbp_kind = TR_RBP_SAME;
	else if (row->rbp.kind == SAVED_AT_CFA)
		rbp_kind = TR_RBP_AT_CFA;
	else if (row->rbp.kind == SAVED_AT_RBP)
		rbp_kind = TR_RBP_AT_RBP;
	else
		return TR_RULE_UNSUPPORTED;
	return rule_make(kind, kind == TR_RULE_CFA_PLT ? 0 : row->cfa_offset, rbp_kind,
			 rbp_kind == TR_RBP_SAME ? 0 : row->rbp.offset);
}

tr_rule tr_cfi_rule(uintptr_t pc)
{
	struct dl_find_object object;
	struct cie cie;

	/* Lock-free by contract (glibc 2.35), safe against a concurrent dlopen and dlclose. */
	if (_dl_find_object((void *)pc, &object) != 0 || !object.dlfo_eh_frame)
		return TR_RULE_NONE;

	const uint8_t *fde = fde_find(object.dlfo_eh_frame, pc);

	if (!fde)
		return TR_RULE_NONE;

	struct span s = record_body(fde);
	const uint8_t *id_at = s.at;
	uint64_t cie_distance = span_fixed(&s, 4);

	if (s.failed || !cie_distance || !cie_parse(id_at - cie_distance, &cie))
		return TR_RULE_UNSUPPORTED;

	uintptr_t begin = span_encoded(&s, cie.fde_encoding, 0);
	uintptr_t size = span_encoded(&s, cie.fde_encoding & 0x0f, 0);

	if (s.failed || pc < begin || pc - begin >= size)
		return TR_RULE_NONE; /* between two functions */
	if (cie.signal_frame)
		return TR_RULE_SIGNAL;
	if (cie.has_augmentation_data)
		span_block(&s);

	struct machine m = {.cie = &cie, .location = 0, .pc = UINT64_MAX};

	run(&m, cie.program);
	m.initial = m.row;
	m.location = begin;
	m.pc = pc;
	run(&m, s);
	return m.failed ? TR_RULE_UNSUPPORTED : row_rule(&m.row);
}
