package ai.edgeq;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;

/**
 * An input or output of a {@link Model}: its memory, row by row, as long as the model is open. Write inputs before every
 * run: their memory is used again.
 */
public final class Tensor {
  /** Element types, numbered as in edgeq.h. */
  public static final int U8 = 0, I8 = 1, I16 = 2, I32 = 3, I64 = 4, F16 = 5, F32 = 6, BOOL = 11;

  private final Model model;
  private final ByteBuffer memory;
  private final int type;
  private final int[] shape;

  Tensor(Model model, ByteBuffer memory, int type, int[] shape) {
    this.model = model;
    this.memory = memory;
    this.type = type;
    this.shape = shape;
  }

  /** One of the element types. */
  public int type() {
    return type;
  }

  /** Extents, the slowest first. */
  public int[] shape() {
    return shape.clone();
  }

  /** Size in bytes. */
  public int bytes() {
    return memory.capacity();
  }

  /**
   * The memory itself, in the machine's byte order, from its beginning.
   *
   * @throws IllegalStateException when the model is closed
   */
  public ByteBuffer buffer() {
    model.requireOpen();
    ByteBuffer view = memory.duplicate().order(ByteOrder.nativeOrder());
    view.clear();
    return view;
  }

  /**
   * The memory as floats.
   *
   * @throws IllegalStateException when the model is closed, or its elements are not floats
   */
  public FloatBuffer floats() {
    if (type != F32) {
      throw new IllegalStateException("the tensor's elements have type " + type + ", not F32");
    }
    return buffer().asFloatBuffer();
  }
}
