/*
 * Context switch for aarch64, AAPCS64.
 *
 * void fiber_switch(void **ret_save_sp, void *load_sp)
 * Saves x19-x30, d8-d15 and the floating-point control register on the running stack, stores the stack
 * pointer, and continues where load_sp was saved. The control register is loaded only where it differs.
 *
 * A fresh stack (fiber_stack_setup) has the fiber in x19 and returns into fiber_entry.
 */
	.text
	.globl fiber_switch
	.hidden fiber_switch
	.type fiber_switch, %function
	.p2align 4
fiber_switch:
	.cfi_startproc
	sub sp, sp, #176
	stp x19, x20, [sp, #0]
	stp x21, x22, [sp, #16]
	stp x23, x24, [sp, #32]
	stp x25, x26, [sp, #48]
	stp x27, x28, [sp, #64]
	stp x29, x30, [sp, #80]
	stp d8, d9, [sp, #96]
	stp d10, d11, [sp, #112]
	stp d12, d13, [sp, #128]
	stp d14, d15, [sp, #144]
	mrs x9, fpcr
	str x9, [sp, #160]
	mov x10, sp
	str x10, [x0]
	mov sp, x1
	ldr x11, [sp, #160]
	cmp x9, x11
	b.eq 1f
	msr fpcr, x11
1:
	ldp x19, x20, [sp, #0]
	ldp x21, x22, [sp, #16]
	ldp x23, x24, [sp, #32]
	ldp x25, x26, [sp, #48]
	ldp x27, x28, [sp, #64]
	ldp x29, x30, [sp, #80]
	ldp d8, d9, [sp, #96]
	ldp d10, d11, [sp, #112]
	ldp d12, d13, [sp, #128]
	ldp d14, d15, [sp, #144]
	add sp, sp, #176
	ret
	.cfi_endproc
	.size fiber_switch, . - fiber_switch

	.globl fiber_entry
	.hidden fiber_entry
	.type fiber_entry, %function
	.p2align 4
fiber_entry:
	.cfi_startproc
	.cfi_undefined x30
	mov x29, #0
	mov x0, x19
	bl fiber_main
	brk #1
	.cfi_endproc
	.size fiber_entry, . - fiber_entry

	.section .note.GNU-stack, "", %progbits
