/*
 * Context switch for x86-64, System V ABI.
 *
 * void fiber_switch(void **ret_save_sp, void *load_sp)
 * Saves the callee-saved registers and the floating-point control words on the running stack, stores the
 * stack pointer, and continues where load_sp was saved. Control words are loaded only where they differ:
 * loading them costs more than the whole rest.
 *
 * A fresh stack (fiber_stack_setup) has the fiber in r12 and returns into fiber_entry.
 */
	.text
	.globl fiber_switch
	.hidden fiber_switch
	.type fiber_switch, @function
	.p2align 4
fiber_switch:
	.cfi_startproc
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	leaq -8(%rsp), %rsp
	stmxcsr (%rsp)
	fnstcw 4(%rsp)
	movl (%rsp), %eax
	movzwl 4(%rsp), %ecx
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	cmpl (%rsp), %eax
	jne 1f
	cmpw 4(%rsp), %cx
	jne 1f
2:
	leaq 8(%rsp), %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	popq %rcx
	jmp *%rcx
1:
	ldmxcsr (%rsp)
	fldcw 4(%rsp)
	jmp 2b
	.cfi_endproc
	.size fiber_switch, . - fiber_switch

	.globl fiber_entry
	.hidden fiber_entry
	.type fiber_entry, @function
	.p2align 4
fiber_entry:
	.cfi_startproc
	.cfi_undefined rip
	xorl %ebp, %ebp
	movq %r12, %rdi
	call fiber_main
	ud2
	.cfi_endproc
	.size fiber_entry, . - fiber_entry

	.section .note.GNU-stack, "", @progbits
