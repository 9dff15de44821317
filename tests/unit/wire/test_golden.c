/*
 * Every message and record of the schemas: golden bytes, round trips, truncations, and the tables.
 */
#include <stdio.h>

#include "../test.h"
#include "base/crc32c.h"
#include "cases.h"
#include "wire/gen/disk.h"
#include "wire/gen/wire.h"

#define ROUNDS 40

static void each(void (*fn)(const struct wire_case *c))
{
	CHECK(wire_cases_wire_count > 0 && wire_cases_disk_count > 0);
	for (size_t i = 0; i < wire_cases_wire_count; i++) {
		fn(&wire_cases_wire[i]);
	}
	for (size_t i = 0; i < wire_cases_disk_count; i++) {
		fn(&wire_cases_disk[i]);
	}
}

static void check_file(const struct wire_case *c)
{
	case_check_golden_file(c, GOLDEN_DIR);
}

TEST(golden_instances_round_trip)
{
	each(case_check_golden);
}

TEST(committed_golden_bytes_are_what_we_write)
{
	each(check_file);
}

static void check_random(const struct wire_case *c)
{
	case_check_random(c, crc32c(0, c->codec->name, strlen(c->codec->name)), ROUNDS);
}

TEST(random_instances_round_trip)
{
	each(check_random);
}

TEST(every_codec_has_a_case)
{
	CHECK_EQ(wire_registry_wire.codec_count, wire_cases_wire_count);
	CHECK_EQ(wire_registry_disk.codec_count, wire_cases_disk_count);
}

TEST(ops_are_found_by_number)
{
	const struct wire_op *op = wire_op_find(W_OP_MDS_CREATE);
	size_t pushes = 0;

	CHECK(op != NULL && op->op == W_OP_MDS_CREATE && op->modifies && !op->push);
	CHECK_STR(op->name, "mds_create");
	CHECK(op->request == &w_mds_create_req_codec && op->reply == &w_mds_create_rep_codec);
	CHECK(wire_op_find(0xffff) == NULL && wire_op_find(0) == NULL);
	CHECK_STR(wire_op_name(W_OP_HELLO), "hello");
	CHECK_STR(wire_op_name(0xffff), "unknown");
	for (size_t i = 0; i < wire_registry_wire.op_count; i++) {
		op = &wire_registry_wire.ops[i];
		CHECK(wire_op_find(op->op) == op);
		CHECK(i == 0 || op[-1].op < op->op);
		CHECK(w_msg_class_valid(op->class));
		CHECK(op->request != NULL && (op->reply == NULL) == op->push);
		pushes += op->push;
	}
	CHECK(pushes > 0);
}

TEST(records_are_found_by_type)
{
	const struct wire_record *rec = wire_record_find(D_TYPE_MDS_INODE);

	CHECK(rec != NULL && rec->codec == &d_mds_inode_codec);
	CHECK(wire_record_find(0xffff) == NULL);
	for (size_t i = 0; i < wire_registry_disk.record_count; i++) {
		rec = &wire_registry_disk.records[i];
		CHECK(wire_record_find(rec->type) == rec);
		CHECK_EQ(rec->codec->bad, -NE_CORRUPT);
	}
	CHECK(wire_registry_codec(&wire_registry_disk, "d_mds_inode") == &d_mds_inode_codec);
	CHECK(wire_registry_codec(&wire_registry_disk, "d_nothing") == NULL);
}

TEST(every_body_can_fit_a_message)
{
	for (size_t i = 0; i < wire_registry_wire.op_count; i++) {
		const struct wire_op *op = &wire_registry_wire.ops[i];

		CHECK(op->request->size_min <= LIM_MSG_BODY_MAX);
		CHECK(op->reply == NULL || op->reply->size_min <= LIM_MSG_BODY_MAX);
	}
}
