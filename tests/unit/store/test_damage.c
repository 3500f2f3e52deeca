/* SPDX-License-Identifier: MIT */
/*
 * Files that no writer would make: each invariant that a reader checks, broken
 *
 * The numbers are those of FORMAT.md. Rows are broken with SQL on a good recording, blobs are built
 * byte by byte.
 */
#include "store_test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "ft_chunk.h"
#include "ft_columns.h"
#include "ft_model.h"
#include "ft_residency.h"
#include "ft_rollup.h"
#include "ft_stackchunk.h"

#define N(array) (int)(sizeof(array) / sizeof((array)[0]))

/* ---- files --------------------------------------------------------------------------------------
 */

static void write_file(const char *path, const void *bytes, size_t n)
{
	FILE *file = fopen(path, "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(bytes, 1, n, file), n);
	fclose(file);
}

START_TEST(what_is_no_recording_is_refused)
{
	const char *path = fresh_path();
	struct ft_reader *reader;

	fails(ft_reader_open(path, 0, &reader), FT_ERROR_OS, "No such file");
	fails(ft_reader_open("/", 0, &reader), FT_ERROR_INPUT, "not a regular file");
	write_file(path, "", 0);
	fails(ft_reader_open(path, 0, &reader), FT_ERROR_INPUT, "the file is empty");
	write_file(path, "hello, this is no recording at all\n", 35);
	fails(ft_reader_open(path, 0, &reader), FT_ERROR_INPUT, "no SQLite database");
	unlink(path);

	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "CREATE TABLE t(x)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	fails(ft_reader_open(path, 0, &reader), FT_ERROR_INPUT, "not one of fragtrace");
	unlink(path);
}
END_TEST

START_TEST(truncated_file_is_refused)
{
	const char *path = fresh_path();
	struct ft_reader *reader;
	struct stat st;

	make_recording(path, &(struct synth_options){.seed = 1}, 20000);
	ck_assert_int_eq(stat(path, &st), 0);
	for (int i = 1; i < 8; i++) {
		ck_assert_int_eq(truncate(path, st.st_size * (8 - i) / 8), 0);

		struct ft_error *error = ft_reader_open(path, 0, &reader);

		ck_assert_ptr_nonnull(error);
		ck_assert_int_eq(error->kind, FT_ERROR_INPUT);
		ft_error_destroy(error);
	}
	unlink(path);
}
END_TEST

/* Break a good recording with SQL; opening, or reading all of it, must fail with the words. */
static const struct {
	const char *statements;
	enum ft_error_kind kind;
	const char *words;
} broken_rows[] = {
	{"PRAGMA user_version=2", FT_ERROR_NEWER, "format 2, this program reads formats 1 to 1"},
	{"PRAGMA user_version=0", FT_ERROR_INPUT, "which never existed"},
	/* I1 */
	{"DROP TABLE loss", FT_ERROR_INPUT, "no table \"loss\""},
	{"DROP TABLE clock; CREATE VIEW clock AS SELECT 1", FT_ERROR_INPUT, "no table \"clock\""},
	{"DROP TABLE keyframe; CREATE VIRTUAL TABLE keyframe USING rtree(a,b,c)", FT_ERROR_INPUT,
	 "no table \"keyframe\""},
	{"ALTER TABLE event_chunk RENAME COLUMN last_ns TO x", FT_ERROR_INPUT, "last_ns"},
	/* I2 */
	{"WITH c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 5000)"
	 " INSERT INTO meta SELECT 'k' || x, x FROM c",
	 FT_ERROR_INPUT, "more than 4096"},
	/* I3 */
	{"UPDATE stack_chunk SET max_id = 4000000000", FT_ERROR_INPUT, "stack 4000000000"},
	{"UPDATE event_chunk SET max_stack = 4000000000", FT_ERROR_INPUT, "stack 4000000000"},
	{"UPDATE event_chunk SET max_stack = -1", FT_ERROR_INPUT, "stacks are out of range"},
	{"UPDATE event_chunk SET max_thread = 1 << 27", FT_ERROR_INPUT, "threads are out of range"},
	/* I5 */
	{"UPDATE event_chunk SET n_events = 0 WHERE id = 2", FT_ERROR_INPUT, "number of events"},
	{"UPDATE event_chunk SET n_events = 65537 WHERE id = 2", FT_ERROR_INPUT,
	 "number of events"},
	{"UPDATE event_chunk SET n_events = (1 << 32) + 5 WHERE id = 2", FT_ERROR_INPUT,
	 "number of events"},
	/* I6 */
	{"DELETE FROM event_chunk WHERE id = 2", FT_ERROR_INPUT, "events before it are missing"},
	{"UPDATE event_chunk SET first_seq = -5 WHERE id = 1", FT_ERROR_INPUT, "sequence number"},
	/* I7 */
	{"UPDATE event_chunk SET last_ns = first_ns - 1 WHERE id = 2", FT_ERROR_INPUT,
	 "times are out of order"},
	{"UPDATE event_chunk SET first_ns = 0 WHERE id = 2", FT_ERROR_INPUT,
	 "begins before the chunk before it ends"},
	/* I8 */
	{"UPDATE event_chunk SET last_ns = last_ns + 128 WHERE id = 3", FT_ERROR_INPUT,
	 "times are not those"},
	{"UPDATE event_chunk SET min_address = min_address - 1", FT_ERROR_INPUT,
	 "addresses are not those"},
	{"UPDATE event_chunk SET max_address = 5, min_address = 6", FT_ERROR_INPUT,
	 "addresses are out of order"},
	{"UPDATE event_chunk SET max_stack = 1", FT_ERROR_INPUT, "does not state"},
	{"UPDATE event_chunk SET max_thread = 0", FT_ERROR_INPUT, "does not state"},
	{"UPDATE event_chunk SET data = (SELECT data FROM event_chunk WHERE id = 1) WHERE id = 3",
	 FT_ERROR_INPUT, "event chunk 3"},
	{"UPDATE event_chunk SET data = x''", FT_ERROR_INPUT, "event chunk 1: it is empty"},
	{"UPDATE event_chunk SET data = x'0101'", FT_ERROR_INPUT, "shorter than its head"},
	{"UPDATE event_chunk SET data = zeroblob(1000)", FT_ERROR_INPUT, "layout is unknown"},
	{"UPDATE event_chunk SET data = substr(data, 1, length(data) - 1)", FT_ERROR_INPUT,
	 "do not add up"},
	{"UPDATE event_chunk SET data = (SELECT data FROM stack_chunk)", FT_ERROR_INPUT,
	 "holds something else"},
	/* I24 */
	{"INSERT INTO meta VALUES('begin_seq', 5)", FT_ERROR_INPUT, "from before it begins"},
	/* I16 */
	{"UPDATE stack_chunk SET n_nodes = 0", FT_ERROR_INPUT, "numbers are out of range"},
	{"UPDATE stack_chunk SET n_nodes = n_nodes + 1", FT_ERROR_INPUT, "number of nodes"},
	{"INSERT INTO stack_chunk SELECT NULL, n_nodes, max_id, data FROM stack_chunk",
	 FT_ERROR_INPUT, "a node a second time"},
	{"UPDATE stack_chunk SET data = x'00'", FT_ERROR_INPUT, "stack chunk 1"},
};

static struct ft_error *read_everything(const char *path)
{
	struct ft_event *events = malloc(FT_CHUNK_EVENTS * sizeof(*events));
	const struct ft_stack_node *nodes;
	struct ft_reader *reader;
	size_t n;
	struct ft_error *error = ft_reader_open(path, FT_READER_NO_WAIT, &reader);

	if (error) {
		free(events);
		return error;
	}
	error = ft_reader_stacks(reader, &nodes, &n);
	for (size_t i = 0; i < ft_reader_n_chunks(reader) && !error; i++)
		error = ft_reader_chunk(reader, i, events, &n);
	ft_reader_close(reader);
	free(events);
	return error;
}

START_TEST(broken_row_is_refused)
{
	const char *path = fresh_path();
	struct synth *synth = synth_create(&(struct synth_options){.seed = 3, .n_threads = 2});
	struct ft_writer *writer;

	/* Three chunks. */
	ok(ft_writer_create(path, &writer));
	write_stacks(writer, synth);
	for (int i = 0; i < 3; i++) {
		write_events(writer, synth, 9000);
		ok(ft_writer_commit(writer, true));
	}
	ok(ft_writer_finish(writer));
	synth_destroy(synth);
	ok(read_everything(path));
	sql(path, broken_rows[_i].statements);
	fails(read_everything(path), broken_rows[_i].kind, broken_rows[_i].words);
	unlink(path);
}
END_TEST

/* ---- blobs --------------------------------------------------------------------------------------
 */

struct blob {
	uint8_t bytes[COL_N][64];
	struct ft_column_out columns[COL_N];
	struct ft_columns_head head;
};

static void put(struct blob *blob, int column, const char *hex)
{
	struct ft_column_out *out = &blob->columns[column];

	out->data = blob->bytes[column];
	out->len = 0;
	for (; *hex; hex += hex[1] ? 2 : 1) {
		unsigned byte;

		if (*hex == ' ') {
			hex--;
			continue;
		}
		ck_assert_int_eq(sscanf(hex, "%2x", &byte), 1);
		out->data[out->len++] = (uint8_t)byte;
	}
}

/* A malloc of 24 bytes and its free, thread 1, stack 1: what each of the cases below breaks. */
static void good_blob(struct blob *blob)
{
	*blob = (struct blob){.head = {.type = FT_COLUMNS_EVENTS,
				       .n_columns = COL_N,
				       .tick_shift = 7,
				       .n_rows = 2}};
	put(blob, COL_DICT,
	    "010100000006030104"
	    "020a00000100000000");
	put(blob, COL_CODE, "0001");
	put(blob, COL_TIME, "0501");
	put(blob, COL_THREAD, "0101");
	put(blob, COL_DELTA, "c801");
	put(blob, COL_SIZE, "18");
	put(blob, COL_NEW_STACK, "02");
}

static const char *decode(const struct blob *blob, size_t *n, struct ft_event *events)
{
	static struct ft_decoder *decoder;
	struct ft_packer *packer = ft_packer_create(1);
	struct ft_strbuf out = {0};
	struct ft_chunk_facts facts;
	size_t packed[COL_N];

	if (!decoder)
		decoder = ft_decoder_create();
	ck_assert(ft_pack(packer, &blob->head, blob->columns, packed, &out));

	const char *damage = ft_decode(decoder, out.data, out.len, 0, events, n, &facts);

	ft_strbuf_deinit(&out);
	ft_packer_destroy(packer);
	return damage;
}

/* The bytes of FORMAT.md, put together by hand, mean what it says. */
START_TEST(blob_by_hand_decodes)
{
	struct ft_event *events = calloc(FT_CHUNK_EVENTS, sizeof(*events));
	struct blob blob;
	size_t n = 0;

	good_blob(&blob);
	ck_assert_ptr_null(decode(&blob, &n, events));
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(events[0].kind, FT_EVENT_ALLOC);
	ck_assert_uint_eq(events[0].api, FT_API_MALLOC);
	ck_assert_uint_eq(events[0].time_ns, 5 * 128);
	ck_assert_uint_eq(events[0].thread, 1);
	ck_assert_uint_eq(events[0].stack, 1);
	ck_assert_uint_eq(events[0].size, 24);
	ck_assert_uint_eq(events[0].usable, 24);
	ck_assert_uint_eq(events[0].address, 100 * 16);
	ck_assert_uint_eq(events[1].kind, FT_EVENT_FREE);
	ck_assert_uint_eq(events[1].api, FT_API_FREE);
	ck_assert_uint_eq(events[1].time_ns, 6 * 128);
	ck_assert_uint_eq(events[1].seq, 1);
	ck_assert_uint_eq(events[1].address, 100 * 16);
	free(events);
}
END_TEST

/* One column put in place of the good one. */
static const struct {
	int column;
	const char *hex;
	const char *words;
} broken_blobs[] = {
	/* I9 */
	{COL_CODE, "00", "one code for each event"},
	{COL_CODE, "000101", "one code for each event"},
	{COL_TIME, "05", "ends early"},
	{COL_TIME, "050101", "longer or shorter"},
	{COL_TIME, "0580", "longer or shorter"},
	{COL_SIZE, "", "ends early"},
	{COL_SIZE, "1818", "longer or shorter"},
	{COL_RANK, "01", "longer or shorter"},
	{COL_SEQ, "01", "longer or shorter"},
	{COL_ESCAPE, "010100000006030104", "longer or shorter"},
	/* I10 */
	{COL_DICT, "0101000000060301", "odd length"},
	{COL_DICT, "010100000006030104", "not in its dictionary"},
	{COL_CODE, "00ff", "not in its dictionary"},
	{COL_DICT, "000100000006030104 020a00000100000000", "unknown kind"},
	{COL_DICT, "040100000006030104 020a00000100000000", "unknown kind"},
	{COL_DICT, "01ff00000006030104 020a00000100000000", "unknown call"},
	{COL_DICT, "010100400006030104 020a00000100000000", "alignment"},
	{COL_DICT, "010100000009030104 020a00000100000000", "unknown way"},
	{COL_DICT, "010100000006040104 020a00000100000000", "unknown way"},
	{COL_DICT, "010100000006030404 020a00000100000000", "unknown way"},
	{COL_DICT, "010100000006030105 020a00000100000000", "unknown way"},
	{COL_DICT, "010100000006030104 020a00000800000000", "unknown way"},
	{COL_DICT, "010100000106030104 020a00000100000000", "contradict"},
	{COL_DICT, "010100000006030104 020a00000000000000", "contradict"},
	{COL_DICT, "010100000000030104 020a00000100000000", "contradict"},
	{COL_DICT, "010100000006030104 020a00000106000000", "contradict"},
	{COL_DICT, "010100000006000104 020a00000100000000", "contradict"},
	{COL_DICT, "010100000006030104 020a00000100000100", "contradict"},
	{COL_DICT, "010100000008030104 020a00000100000000", "contradict"},
	/* I11 */
	{COL_DICT, "010100000006030101 020a00000100000000", "stack that its chunk has not shown"},
	{COL_DICT, "010100000006030102 020a00000100000000", "stack that its chunk has not shown"},
	{COL_DICT, "010100000006030103 020a00000100000000", "stack that its chunk has not shown"},
	{COL_NEW_STACK, "00", "stack that its chunk has not shown"},
	{COL_NEW_STACK, "01", "stack that its chunk has not shown"},
	{COL_NEW_STACK, "8080808020", "stack that its chunk has not shown"},
	/* I12 */
	{COL_DICT, "010100000006030204 020a00000100000000", "usable size"},
	/* I13 */
	{COL_CODE, "0101", "does not live"},
	{COL_DICT, "010100000006030104 020a00000300000000", "does not live"},
	{COL_DICT, "010100000006030104 020a00000400000000", "does not live"},
	/* I14 */
	{COL_DICT, "010100000001030104 020a00000100000000", "freed block"},
	/* I15 */
	{COL_THREAD, "0100", "ends early"},
	{COL_THREAD, "0102", "a run of a thread"},
	{COL_THREAD, "01ffffffffffffffffff01", "a run of a thread"},
	{COL_THREAD, "808080801001", "a run of a thread"},
	{COL_TIME, "05ffffffffffffffffff01", "times run over"},
};

START_TEST(broken_blob_is_refused)
{
	struct ft_event *events = calloc(FT_CHUNK_EVENTS, sizeof(*events));
	struct blob blob;
	size_t n = 0;

	good_blob(&blob);
	put(&blob, broken_blobs[_i].column, broken_blobs[_i].hex);

	const char *damage = decode(&blob, &n, events);

	if (!damage)
		ck_abort_msg("case %d was decoded; expected \"%s\"", _i, broken_blobs[_i].words);
	if (!strstr(damage, broken_blobs[_i].words))
		ck_abort_msg("case %d: \"%s\"; expected \"%s\"", _i, damage,
			     broken_blobs[_i].words);
	free(events);
}
END_TEST

/* The same for what takes more than one column: a code and the number that it asks for. */
static const struct {
	const char *dict_tail; /* of the second code */
	int column;
	const char *hex;
	const char *words;
} broken_pairs[] = {
	{"020a00000200000000", COL_RANK, "01", "does not live"},
	{"020a00000200000000", COL_RANK, "11", "does not live"},
	{"020a00000500000000", COL_DIST, "01", "does not live"},
	{"020a00000500000000", COL_DIST, "ffff03", "does not live"},
	{"010100000002030103", COL_DEPTH, "01", "freed block"},
	{"010100000005030103", COL_REUSE, "00", "a death that its chunk"},
	{"010100000006010103", COL_STACK, "02", "stack that its chunk"},
	{"010100000006010103", COL_STACK, "00", "stack that its chunk"},
};

START_TEST(broken_number_is_refused)
{
	struct ft_event *events = calloc(FT_CHUNK_EVENTS, sizeof(*events));
	struct blob blob;
	char dict[64];
	size_t n = 0;

	good_blob(&blob);
	snprintf(dict, sizeof(dict), "010100000006030104%s", broken_pairs[_i].dict_tail);
	put(&blob, COL_DICT, dict);
	put(&blob, COL_SIZE, "1818");
	put(&blob, COL_STACK, "01");
	put(&blob, COL_DELTA, "c80102");
	put(&blob, broken_pairs[_i].column, broken_pairs[_i].hex);

	const char *damage = decode(&blob, &n, events);

	if (!damage || !strstr(damage, broken_pairs[_i].words))
		ck_abort_msg("case %d: \"%s\"; expected \"%s\"", _i, damage ? damage : "decoded",
			     broken_pairs[_i].words);
	free(events);
}
END_TEST

START_TEST(broken_container_is_refused)
{
	struct ft_event *events = calloc(FT_CHUNK_EVENTS, sizeof(*events));
	struct blob blob;
	size_t n = 0;

	good_blob(&blob);
	blob.head.tick_shift = 31;
	ck_assert_str_eq(decode(&blob, &n, events), "its clock tick is out of range");
	good_blob(&blob);
	blob.head.n_rows = 65537;
	ck_assert_str_eq(decode(&blob, &n, events), "it has too many rows");
	good_blob(&blob);
	blob.head.n_rows = 0;
	for (int i = 0; i < COL_N; i++)
		blob.columns[i].len = 0;
	ck_assert_str_eq(decode(&blob, &n, events), "it has no events");
	good_blob(&blob);
	blob.head.n_columns = COL_N - 1;
	ck_assert_str_eq(decode(&blob, &n, events), "its number of columns is wrong");
	good_blob(&blob);
	put(&blob, COL_RANK, "0101010101010101010101010101010101010101");
	ck_assert_str_eq(decode(&blob, &n, events), "a column is larger than its rows allow");
	free(events);
}
END_TEST

/* A container of one column, by hand: how long it is said to be, and a frame's head that says how
 * long it is (RFC 8878, 3.1.1.1: one segment, a content size of eight bytes). */
static const char *unpack_claim(uint32_t claim, uint64_t content)
{
	static const uint16_t row_bytes[] = {UINT16_MAX};
	struct ft_unpacker *unpacker = ft_unpacker_create();
	struct ft_columns_head head;
	struct ft_column_in column;
	uint32_t n_rows = 1 << 20, n_packed = 16;
	uint8_t bytes[32] = {FT_COLUMNS_LAYOUT, FT_COLUMNS_ROLLUP, 1, 0};
	static const uint8_t frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0xe0};

	memcpy(bytes + 4, &n_rows, 4);
	memcpy(bytes + 8, &claim, 4);
	memcpy(bytes + 12, &n_packed, 4);
	memcpy(bytes + 16, frame, sizeof(frame));
	memcpy(bytes + 21, &content, 8);

	const char *damage = ft_unpack(unpacker, bytes, sizeof(bytes), FT_COLUMNS_ROLLUP,
				       UINT32_MAX, row_bytes, 1, &head, &column);

	ft_unpacker_destroy(unpacker);
	return damage;
}

/* No memory is asked for in vain. */
START_TEST(lengths_are_checked_before_there_is_room)
{
	ck_assert_str_eq(unpack_claim(UINT32_MAX - 63, 1000), "a column is not as long as it says");
	ck_assert_str_eq(unpack_claim(1000, UINT64_C(1000) << 32 | 1000),
			 "a column is not as long as it says");
	ck_assert_str_eq(unpack_claim(UINT32_MAX - 63, UINT32_MAX - 63),
			 "its columns are too long");
	ck_assert_str_eq(unpack_claim(1000, 1000), "a column does not unpack (damaged bytes)");
}
END_TEST

/* I17, and the nodes' part of I16: codes, then what they ask for. */
static const struct {
	const char *code, *id, *parent, *pc, *new_pc, *words;
} broken_stacks[] = {
	{"10", "", "", "", "", "unknown way"},
	{"0c", "", "", "01", "02", "unknown way"},
	{"04", "", "", "01", "", "a pc that its chunk"},
	{"00", "", "", "", "", "a pc that its chunk"},
	{"08", "", "", "", "", "ends early"},
	{"09", "01", "", "", "02", "out of range"},
	{"09", "ffffffff20", "", "", "02", "out of range"},
	{"0a", "", "01", "", "02", "own ancestor"},
	{"080b", "00", "", "", "0202", "ends early"},
	{"0809", "01", "", "", "0202", "own ancestor"},
	{"08", "", "", "", "0202", "longer or shorter"},
};

START_TEST(broken_stack_chunk_is_refused)
{
	struct ft_stack_codec *codec = ft_stack_codec_create(1);
	struct ft_packer *packer = ft_packer_create(1);
	struct ft_stack_node *nodes = calloc(FT_STACK_CHUNK_NODES, sizeof(*nodes));
	struct ft_strbuf out = {0};
	struct blob blob = {.head = {.type = FT_COLUMNS_STACKS, .n_columns = 5}};
	size_t packed[COL_N], n;

	put(&blob, 0, broken_stacks[_i].code);
	put(&blob, 1, broken_stacks[_i].id);
	put(&blob, 2, broken_stacks[_i].parent);
	put(&blob, 3, broken_stacks[_i].pc);
	put(&blob, 4, broken_stacks[_i].new_pc);
	blob.head.n_rows = (uint32_t)blob.columns[0].len;
	ck_assert(ft_pack(packer, &blob.head, blob.columns, packed, &out));

	const char *damage = ft_stack_decode(codec, out.data, out.len, nodes, &n);

	if (!damage || !strstr(damage, broken_stacks[_i].words))
		ck_abort_msg("case %d: \"%s\"; expected \"%s\"", _i, damage ? damage : "decoded",
			     broken_stacks[_i].words);
	ft_strbuf_deinit(&out);
	ft_packer_destroy(packer);
	ft_stack_codec_destroy(codec);
	free(nodes);
}
END_TEST

/* I27: the largest births of an interval of events 100 to 109 and times 1280 to 2560. A row is
 * size, old size, event, time, stack, thread, call. */
static const struct {
	uint32_t n_rows;
	const char *hex, *words;
} broken_largest[] = {
	{1, "18180000010101", "made no larger"},
	{1, "00000000010101", "made no larger"},
	{1, "18000a00010101", "not born in it"},
	{1, "180000810a010101", "not born in it"},
	{1, "180000008080808010 0101", "out of range"},
	{1, "1800000001 8080808010 01", "out of range"},
	{1, "180000000101 ff01", "out of range"},
	{1, "180000000101", "ends early"},
	{1, "1800000001010101", "longer or shorter"},
	{2, "18000000010101 19000100010101", "out of order"},
	{2, "18000100010101 18000000010101", "out of order"},
	{2, "18000100010101 18000100010101", "out of order"},
	{17, "18000000010101", "too many rows"},
};

static const char *unpack_largest(const char *hex, uint32_t n_rows, struct ft_rollup *rollup)
{
	struct ft_packer *packer = ft_packer_create(1);
	struct ft_unpacker *unpacker = ft_unpacker_create();
	struct ft_strbuf out = {0};
	struct blob blob = {.head = {.type = FT_COLUMNS_LARGEST, .n_columns = 1, .n_rows = n_rows}};
	size_t packed[COL_N];

	put(&blob, 0, hex);
	ck_assert(ft_pack(packer, &blob.head, blob.columns, packed, &out));
	*rollup = (struct ft_rollup){
		.first_ns = 1280, .last_ns = 2560, .first_seq = 100, .n_events = 10};

	const char *damage = ft_rollup_unpack_largest(unpacker, out.data, out.len, rollup);

	ft_strbuf_deinit(&out);
	ft_packer_destroy(packer);
	ft_unpacker_destroy(unpacker);
	return damage;
}

START_TEST(broken_largest_birth_is_refused)
{
	struct ft_rollup rollup;
	const char *damage =
		unpack_largest(broken_largest[_i].hex, broken_largest[_i].n_rows, &rollup);

	if (!damage || !strstr(damage, broken_largest[_i].words))
		ck_abort_msg("case %d: \"%s\"; expected \"%s\"", _i, damage ? damage : "decoded",
			     broken_largest[_i].words);
	ck_assert_uint_eq(rollup.largest.n, 0);
}
END_TEST

START_TEST(largest_births_by_hand_are_read)
{
	struct ft_rollup rollup;

	ck_assert_ptr_null(unpack_largest("181009800a020307 17000000010101", 2, &rollup));
	ck_assert_uint_eq(rollup.largest.n, 2);
	ck_assert_uint_eq(rollup.largest.births[0].size, 24);
	ck_assert_uint_eq(rollup.largest.births[0].old_size, 16);
	ck_assert_uint_eq(rollup.largest.births[0].seq, 109);
	ck_assert_uint_eq(rollup.largest.births[0].time_ns, 2560);
	ck_assert_uint_eq(rollup.largest.births[0].stack, 2);
	ck_assert_uint_eq(rollup.largest.births[0].thread, 3);
	ck_assert_uint_eq(rollup.largest.births[0].api, 7);
	ck_assert_uint_eq(rollup.largest.births[1].time_ns, 1280);
}
END_TEST

/* A flipped bit is found, or changes nothing. */
/* I19, and the container's own rules. */
START_TEST(broken_residency_is_refused)
{
	static const struct {
		const char *statement, *words;
	} broken[] = {
		{"UPDATE residency SET data = x'00'", "residency sample 1"},
		{"UPDATE residency SET page_bytes = 4095", "its page size is none"},
		{"UPDATE residency SET page_bytes = 0", "its page size is none"},
		{"UPDATE residency SET page_bytes = 1 << 40", "its page size is none"},
		{"UPDATE residency SET data = (SELECT data FROM event_chunk)", "something else"},
		{"UPDATE residency SET data = substr(data, 1, length(data) - 3)", "do not add up"},
	};
	static const struct ft_page_run wrong[][2] = {
		{{.start = 4096, .n_pages = 0}},
		{{.start = 4096, .n_pages = 1, .state = FT_PAGES_N}},
		{{.start = 0, .n_pages = UINT64_MAX / 4096}, {.start = 4096, .n_pages = 2}},
	};
	const struct ft_page_run runs[] = {{.start = 4096, .n_pages = 2, .state = 1},
					   {.start = 1 << 20, .n_pages = 9, .state = 2}};
	const struct ft_residency_row row = {
		.method = "pagemap", .page_bytes = 4096, .runs = runs, .n_runs = 2};

	for (int i = 0; i <= N(broken); i++) {
		const char *path = fresh_path();
		struct ft_writer *writer;
		struct ft_reader *reader;
		struct ft_page_run *got = NULL;
		struct ft_event event = {.kind = FT_EVENT_ALLOC, .address = 4096, .size = 8};
		size_t n;

		ok(ft_writer_create(path, &writer));
		ok(ft_writer_event(writer, &event, NULL));
		ok(ft_writer_residency(writer, &row));
		ok(ft_writer_finish(writer));
		/* Recordings from before the table have none. */
		sql(path, i < N(broken) ? broken[i].statement : "DROP TABLE residency");
		ok(ft_reader_open(path, 0, &reader));
		if (i < N(broken))
			fails(ft_reader_residency_runs(reader, 1, &got, &n), FT_ERROR_INPUT,
			      broken[i].words);
		else
			ok(ft_reader_residency(reader, NULL, NULL));
		ck_assert_ptr_null(got);
		ft_reader_close(reader);
		unlink(path);
	}
	for (int i = 0; i < N(wrong); i++) {
		struct ft_strbuf blob = {0};
		struct ft_page_run *got = NULL;
		size_t n;

		ck_assert(
			ft_residency_encode(wrong[i], wrong[i][1].n_pages ? 2 : 1, 4096, 1, &blob));

		const char *damage = ft_residency_decode(blob.data, blob.len, 4096, &got, &n);

		ck_assert_ptr_nonnull(damage);
		ck_assert_ptr_nonnull(strstr(damage, "a run of pages"));
		ck_assert_ptr_null(got);
		ft_strbuf_deinit(&blob);
	}
}
END_TEST

START_TEST(flipped_bits_never_change_events)
{
	struct synth *synth = synth_create(&(struct synth_options){.seed = 9, .n_threads = 3});
	struct ft_event *events = calloc(3000, sizeof(*events));
	struct ft_event *want = calloc(FT_CHUNK_EVENTS, sizeof(*want));
	struct ft_event *got = calloc(FT_CHUNK_EVENTS, sizeof(*got));
	struct ft_encoder *encoder = ft_encoder_create(1);
	struct ft_decoder *decoder = ft_decoder_create();
	struct ft_strbuf blob = {0};
	struct ft_chunk_facts facts, first;
	size_t n, n_refused = 0;

	for (int i = 0; i < 3000; i++)
		synth_next(synth, &events[i]);
	ck_assert(ft_encode(encoder, events, 3000, &blob, &first));
	ck_assert_ptr_null(ft_decode(decoder, blob.data, blob.len, 0, want, &n, &first));
	for (size_t i = 0; i < blob.len; i++) {
		blob.data[i] ^= (char)(1 << i % 8);
		if (ft_decode(decoder, blob.data, blob.len, 0, got, &n, &facts))
			n_refused++;
		else if (i != 3) /* the tick is not under a checksum: the row's times tell */
			ck_assert(n == 3000 && !memcmp(got, want, 3000 * sizeof(*want)));
		else
			ck_assert(facts.last_ns != first.last_ns);
		blob.data[i] ^= (char)(1 << i % 8);
	}
	ck_assert_uint_gt(n_refused, blob.len * 9 / 10);
	ft_strbuf_deinit(&blob);
	ft_encoder_destroy(encoder);
	ft_decoder_destroy(decoder);
	synth_destroy(synth);
	free(events);
	free(want);
	free(got);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("damage");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, what_is_no_recording_is_refused);
	tcase_add_test(tcase, truncated_file_is_refused);
	tcase_add_loop_test(tcase, broken_row_is_refused, 0, N(broken_rows));
	tcase_add_test(tcase, blob_by_hand_decodes);
	tcase_add_loop_test(tcase, broken_blob_is_refused, 0, N(broken_blobs));
	tcase_add_loop_test(tcase, broken_number_is_refused, 0, N(broken_pairs));
	tcase_add_test(tcase, broken_container_is_refused);
	tcase_add_test(tcase, lengths_are_checked_before_there_is_room);
	tcase_add_test(tcase, broken_residency_is_refused);
	tcase_add_test(tcase, largest_births_by_hand_are_read);
	tcase_add_loop_test(tcase, broken_largest_birth_is_refused, 0, N(broken_largest));
	tcase_add_loop_test(tcase, broken_stack_chunk_is_refused, 0, N(broken_stacks));
	tcase_add_test(tcase, flipped_bits_never_change_events);
	return run_suite("damage", tcase);
}
