/* SPDX-License-Identifier: Apache-2.0 */
/* A guest of 64 KiB of ROM that says one "." on its serial port at every tick of its clock (18 a
 * second) and sleeps in between: it is up at once, costs nothing, and the growing line shows from
 * outside that it runs. For tests that ask whether a VM was left alone.
 *
 * With WRITES it writes to so many pages at every tick, one after the other from 16 to 80 MiB and again
 * from the beginning: to half of them, 64 pages in turn, what they hold already.
 *
 * With CHECKS (and WRITES) it checks its memory, too: of SPAN bytes from 16 MiB on it rewrites so many pages
 * at every tick, one after the other, each with its address and the number of the pass in three places
 * and with 128 bytes of noise, after it has looked whether the page holds what the pass before has put
 * there; and of the SPAN bytes behind these, which it filled at its beginning and only reads since, it
 * looks at as many pages. (A few words, because there are KVMs that carry out each instruction of real
 * mode in software.) What it finds
 * stands at 0x600, five words: a mark, the number of the pass, how many pages were wrong, the address of
 * the last one of these, ticks. A wrong page is also an "E" on the serial port.
 *
 * It runs on a KVM, too, that takes no 64-bit guest: the segment is marked as accessed already, because
 * a processor that wants to mark it in ROM would hang there. */
	.equ FIRST, 0x1000000
	.code16
	.globl _start
_start:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	movw $0x7000, %sp
	/* vector 8, the timer's */
	movw $tick, 0x20
	movw $0xf000, 0x22
	/* interrupt controller: vectors from 8 on, only the timer */
	movb $0x11, %al
	outb %al, $0x20
	movb $8, %al
	outb %al, $0x21
	movb $4, %al
	outb %al, $0x21
	movb $1, %al
	outb %al, $0x21
	movb $0xfe, %al
	outb %al, $0x21
	/* timer: its slowest rate */
	movb $0x34, %al
	outb %al, $0x43
	xorb %al, %al
	outb %al, $0x40
	outb %al, $0x40
	/* the local APIC, which is above 1 MiB, must let the old interrupts through */
	lgdtl %cs:table - _start
	movl %cr0, %eax
	orb $1, %al
	movl %eax, %cr0
	movw $8, %bx
	movw %bx, %ds
	movw %bx, %es
	andb $0xfe, %al
	movl %eax, %cr0
	movl $0xfee00000, %ebx
	movl $0x1ff, 0xf0(%ebx)
	movl $0x700, 0x350(%ebx)
	movl $1, %ebp
	movl $FIRST, %esi
.ifdef CHECKS
	/* both areas as if pass 0 had been there */
	xorl %ebp, %ebp
fill:
	call write_page
	addl $4096, %esi
	cmpl $FIRST + 2 * SPAN, %esi
	jb fill
	movl $FIRST, %esi
	incl %ebp
	xorl %eax, %eax
	movl %eax, 0x608
	movl %eax, 0x60c
	movl %eax, 0x610
	movl %ebp, 0x604
	movl $0x54415257, 0x600
.endif
	sti
again:
	hlt
	movw $0x3f8, %dx
	movb $'.', %al
	outb %al, %dx
.ifdef CHECKS
	incl 0x610
	movl $WRITES, %ecx
check:
	/* what the pass before has put there; then the page of the same place in the other area, of pass 0 */
	decl %ebp
	call check_page
	leal 1(%ebp), %ebp
	jnz wrong
	pushl %ebp
	pushl %esi
	xorl %ebp, %ebp
	addl $SPAN, %esi
	call check_page
	popl %esi
	popl %ebp /* neither touches the flags */
	jz right
wrong:
	incl 0x608
	movl %esi, 0x60c
	movb $'E', %al
	outb %al, %dx
right:
	call write_page
	addl $4096, %esi
	cmpl $FIRST + SPAN, %esi
	jb checked
	movl $FIRST, %esi
	incl %ebp
	movl %ebp, 0x604
checked:
	decl %ecx
	jnz check
.else
.ifdef WRITES
	movl $WRITES, %ecx
write:
	xorl %eax, %eax
	testl $0x40000, %esi
	jnz same
	movl %ebp, %eax
same:
	movl %eax, (%esi)
	addl $4096, %esi
	cmpl $0x5000000, %esi
	jb further
	movl $0x1000000, %esi
	incl %ebp
further:
	decl %ecx
	jnz write
.endif
.endif
	jmp again
tick:
	pushw %ax
	movb $0x20, %al
	outb %al, $0x20
	popw %ax
	iret
.ifdef CHECKS
	/* Three words of a page: its address and the pass; and 128 bytes that are hard to compress. */
write_page:
	pushl %ecx
	leal 1024(%esi), %edi
	leal (%esi, %ebp), %eax
	movl $32, %ecx
	cld
word:
	imull $1103515245, %eax, %eax
	addl $12345, %eax
	stosl %eax, %es:(%edi)
	decl %ecx
	jnz word
	popl %ecx
	leal (%esi, %ebp), %eax
	movl %eax, (%esi)
	movl %eax, 2048(%esi)
	movl %eax, 4092(%esi)
	ret
	/* The zero flag says whether they are right. */
check_page:
	leal (%esi, %ebp), %eax
	cmpl %eax, (%esi)
	jne looked
	cmpl %eax, 2048(%esi)
	jne looked
	cmpl %eax, 4092(%esi)
looked:
	ret
.endif
	.balign 8
gdt:
	.quad 0, 0x00cf93000000ffff
table:
	.word 15
	.long 0xf0000 + gdt - _start
	.org 0xfff0
	ljmp $0xf000, $0
	.org 0x10000
