/* -DMODEL="FILE" -DINPUT="FILE" */
#define TEXT(x) #x
#define QUOTED(x) TEXT(x)
  .section .rodata.blob, "a"
  .balign 16
  .global model_start, model_end, input_start
model_start:
  .incbin QUOTED(MODEL)
model_end:
  .balign 16
input_start:
  .incbin QUOTED(INPUT)
