/* The program and its inputs, one after the other, as bytes in flash: -DMODEL="file" -DINPUT="file". */
  .section .model, "a"
  .global model_start, model_end, input_start, input_end
  .balign 16
model_start:
  .incbin MODEL
model_end:
  .balign 16
input_start:
  .incbin INPUT
input_end:
