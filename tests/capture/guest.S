/* SPDX-License-Identifier: Apache-2.0 */
/* A guest without a kernel and without a BIOS: the whole ROM. It fills some pages once and then
 * changes a few bytes in each of DIRTY_PAGES pages, round after round, for ever. The ROM is nearly
 * all zeroes, so that captured streams stay small.
 *
 * 64 KiB, mapped at 0xf0000; the processor starts at its last 16 bytes in real mode.
 */
	.set	DIRTY_PAGES, 96
	.set	DIRTY_BASE, 0x100000
	.set	CONST_PAGES, 64
	.set	CONST_BASE, 0x200000
	.set	DELAY, 20000

	.text
	.code16
	.globl	_start
_start:
	cli
	lgdtl	%cs:gdt_pointer
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$8, $(0xf0000 + start32)

	.code32
start32:
	movw	$16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movl	$CONST_BASE, %edi
	movl	$CONST_PAGES, %ecx
1:	movl	%edi, (%edi)		/* pages that differ, written once */
	movl	%edi, 2048(%edi)
	addl	$4096, %edi
	loop	1b
	xorl	%ebx, %ebx
round:
	movl	%cr0, %eax		/* WP changes: TCG drops its TLB. Before 9.0 QEMU would */
	xorl	$0x10000, %eax		/* not see further writes (end of docs/qemu-stream.md) */
	movl	%eax, %cr0
	incl	%ebx
	movl	%ebx, %edx
	shll	$3, %edx
	andl	$0xff8, %edx
	movl	$DIRTY_BASE, %edi
	movl	$DIRTY_PAGES, %ecx
2:	movl	%ebx, (%edi,%edx)	/* somewhere else in the page every round */
	addl	$4096, %edi
	loop	2b
	movl	$DELAY, %ecx
3:	loop	3b
	jmp	round

	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9a000000ffff	/* code, flat */
	.quad	0x00cf92000000ffff	/* data, flat */
gdt_pointer:
	.word	gdt_pointer - gdt - 1
	.long	0xf0000 + gdt

	.org	0xfff0
	.code16
	ljmpw	$0xf000, $_start
	.org	0x10000
