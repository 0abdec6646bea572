/* RP2040's second stage: the ROM loads these 256 bytes into RAM, checks their CRC and calls them. They make flash readable
 * with the command that every part knows, 03h, and go on to the vectors behind them. */
#if defined(RP2040)
  .cpu cortex-m0plus
  .thumb
  .section .boot, "ax"
  .global boot2
boot2:
  push {lr}
  ldr r3, =0x18000000 /* SSI */
  movs r1, #0
  str r1, [r3, #0x08] /* off */
  movs r1, #4
  str r1, [r3, #0x14] /* clock / 4 */
  ldr r1, =0x001f0300 /* 32 bits a frame, read after writing */
  str r1, [r3, #0x00]
  ldr r1, =0x03000218 /* command 03h, 8 bits; address 24 bits; one line */
  ldr r0, =0x180000f4
  str r1, [r0]
  movs r1, #0
  str r1, [r3, #0x04] /* one frame */
  movs r1, #1
  str r1, [r3, #0x08] /* on */
  pop {r0}
  cmp r0, #0
  beq 1f
  bx r0 /* called as a function */
1:
  ldr r0, =0x10000100
  ldr r1, =0xe000ed08 /* VTOR */
  str r0, [r1]
  ldmia r0, {r0, r1}
  msr msp, r0
  bx r1
  .ltorg
  .org 252
  .word 0x0d21ec2c /* CRC-32 of the bytes before, most significant bit first, not inverted at the end */
#endif
