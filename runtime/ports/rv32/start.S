/* From reset to main on a 32-bit RISC-V in machine mode. A trap resets the part: interrupts are only waited for. */
  .section .boot, "ax"
  .global reset_handler
reset_handler:
  .option push
  .option norelax
  la gp, __global_pointer$
  .option pop
  la sp, stack_top
  la t0, trap
  csrw mtvec, t0
  la t0, data_source
  la t1, data_start
  la t2, data_end
1:
  bgeu t1, t2, 2f
  lw t3, 0(t0)
  sw t3, 0(t1)
  addi t0, t0, 4
  addi t1, t1, 4
  j 1b
2:
  la t1, bss_start
  la t2, bss_end
3:
  bgeu t1, t2, 4f
  sw zero, 0(t1)
  addi t1, t1, 4
  j 3b
4:
  call board_start
  call main
  j board_stop

  .balign 4
trap:
  la sp, stack_top
  li a0, 99
  j board_stop
