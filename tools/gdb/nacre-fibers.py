"""Lists the fibers of Nacre's reactors in gdb, with a backtrace of each that waits.

    (gdb) source tools/gdb/nacre-fibers.py
    (gdb) nacre-fibers POOL          all fibers of a `struct fiber_pool *` expression
    (gdb) nacre-fibers -bt POOL      the same with backtraces
    (gdb) nacre-fibers -bt r->pool   in a frame that has a `struct reactor *r`

A fiber that does not run has its registers on its own stack, where fiber_switch left them; the frame
pointer chain is followed from there (the build keeps frame pointers).
"""

import gdb

STATES = {0: "free", 1: "ready", 2: "running", 3: "waiting", 4: "parked"}
FRAMES_MAX = 64


def saved_registers(fiber):
    """The (pc, frame pointer) that fiber_switch saved."""
    word = gdb.lookup_type("unsigned long").pointer()
    saved = fiber["sp"].cast(word)
    arch = gdb.selected_inferior().architecture().name()
    if arch.startswith("aarch64"):
        return int(saved[11]), int(saved[10])
    # control words, r15, r14, r13, r12, rbx, rbp, return address
    return int(saved[7]), int(saved[6])


def describe(pc):
    block = gdb.block_for_pc(pc)
    while block is not None and block.function is None:
        block = block.superblock
    name = block.function.print_name if block is not None else "??"
    sal = gdb.find_pc_line(pc)
    where = f" at {sal.symtab.filename}:{sal.line}" if sal.symtab else ""
    return f"{pc:#x} in {name}{where}"


def backtrace(fiber, low, high):
    pc, fp = saved_registers(fiber)
    word = gdb.lookup_type("unsigned long").pointer()
    for depth in range(FRAMES_MAX):
        print(f"      #{depth} {describe(pc)}")
        if not low <= fp < high - 16:
            return
        frame = gdb.Value(fp).cast(word)
        pc, fp = int(frame[1]), int(frame[0])
        if pc == 0:
            return


class NacreFibers(gdb.Command):
    """List fibers: nacre-fibers [-bt] POOL-EXPRESSION"""

    def __init__(self):
        super().__init__("nacre-fibers", gdb.COMMAND_STACK)

    def invoke(self, arg, _from_tty):
        args = gdb.string_to_argv(arg)
        with_bt = "-bt" in args
        args = [a for a in args if a != "-bt"]
        if len(args) != 1:
            raise gdb.GdbError("usage: nacre-fibers [-bt] POOL-EXPRESSION")
        pool = gdb.parse_and_eval(args[0])
        if pool.type.code == gdb.TYPE_CODE_PTR:
            pool = pool.dereference()
        stride, size = int(pool["stride"]), int(pool["stack_size"])
        count = 0
        for slot in range(int(pool["limit"])):
            fiber = pool["fibers"][slot]
            state = int(fiber["state"])
            if state == 0:
                continue
            count += 1
            low = int(pool["stacks"]) + stride * slot + (stride - size)
            timer = ""
            if fiber["timer"]["armed"]:
                timer = f" deadline={int(fiber['timer']['deadline_ns'])}"
            mark = " interrupted" if fiber["interrupted"] else ""
            print(
                f"{slot:4d} id={int(fiber['id'])} {STATES.get(state, state)}"
                f" {fiber['name'].string()} fn={fiber['fn']}{timer}{mark}"
            )
            if with_bt and state in (1, 3):
                backtrace(fiber, low, low + size)
        print(f"{count} fibers of {int(pool['limit'])}")


NacreFibers()
