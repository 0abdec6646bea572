package ai.edgeq;

import java.io.BufferedReader;
import java.io.FileReader;
import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * A compiled EdgeQ model ({@code edgeq compile MODEL --target micro}) that runs in this process.
 *
 * <pre>{@code
 * try (Model model = Model.open(program)) {      // a direct ByteBuffer with the .pte
 *   model.input(0).floats().put(pixels);         // before every run
 *   model.run();
 *   model.output(0).floats().get(scores);
 * }
 * }</pre>
 *
 * One model is used by one thread at a time; different models may run at the same time. All memory is direct buffers of
 * this object.
 */
public final class Model implements AutoCloseable {
  /** Major number of the native library that this class was written for. */
  public static final int VERSION_MAJOR = 1;

  private static final int OK = 0, NO_MEMORY = 8, ALIGNMENT = 64, PROGRAM_ALIGNMENT = 16, MOST_DIMS = 6, MOST_TRIES = 4;

  static {
    System.loadLibrary("edgeq");
    int major = version() >>> 16;
    if (major != VERSION_MAJOR) {
      throw new UnsatisfiedLinkError("libedgeq has version " + major + ", these classes need " + VERSION_MAJOR);
    }
    String features = kernelFeatures();
    if (features.contains(" asimddp ")) {
      allowDotprod();
      if (features.contains(" i8mm ")) {
        allowI8mm();
      }
    }
  }

  private final ByteBuffer program, memory; // kept alive as long as the handle
  private long handle;

  private Model(long handle, ByteBuffer program, ByteBuffer memory) {
    this.handle = handle;
    this.program = program;
    this.memory = memory;
  }

  /**
   * Opens a program. It is checked whole before anything of it is used.
   *
   * @param pte the file, between position and limit; copied unless it is direct and lies on a 16-byte boundary, else it
   *     must not change while the model is open
   * @throws ModelException when it is damaged, or not compiled for this runtime
   */
  public static Model open(ByteBuffer pte) throws ModelException {
    int bytes = pte.remaining();
    ByteBuffer program = pte.slice();
    long first = 0;
    if (alignedAt(program, PROGRAM_ALIGNMENT) != 0) {
      program = ByteBuffer.allocateDirect(bytes + PROGRAM_ALIGNMENT);
      first = alignedAt(program, PROGRAM_ALIGNMENT);
      program.position((int) first);
      program.put(pte.duplicate());
    }
    ByteBuffer memory = null;
    long[] answer = {NO_MEMORY, 0};
    for (int i = 0; i < MOST_TRIES; i++) {
      long at = memory == null ? 0 : alignedAt(memory, ALIGNMENT);
      long room = memory == null ? 0 : memory.capacity() - at;
      long handle = open(program, first, bytes, memory, at, room, answer);
      if (answer[0] == OK) {
        return new Model(handle, program, memory);
      }
      if (answer[0] != NO_MEMORY || answer[1] > Integer.MAX_VALUE - ALIGNMENT) {
        break;
      }
      memory = ByteBuffer.allocateDirect((int) answer[1] + ALIGNMENT);
    }
    throw new ModelException((int) answer[0], statusText((int) answer[0]));
  }

  /** The instruction set in use, like "neon-dotprod". */
  public static String isa() {
    return isaName();
  }

  /** Number of inputs. */
  public int inputs() {
    return count(requireOpen(), false);
  }

  /** Number of outputs. */
  public int outputs() {
    return count(requireOpen(), true);
  }

  /** @throws IndexOutOfBoundsException when there is no such input */
  public Tensor input(int index) {
    return tensor(index, false);
  }

  /** @throws IndexOutOfBoundsException when there is no such output */
  public Tensor output(int index) {
    return tensor(index, true);
  }

  /**
   * Computes the outputs from what the inputs hold.
   *
   * @throws ModelException when that cannot be done
   */
  public void run() throws ModelException {
    int status = run(requireOpen());
    if (status != OK) {
      throw new ModelException(status, statusText(status));
    }
  }

  /** Bytes of memory that the model works in, its program not counted. */
  public int memoryBytes() {
    return memory.capacity();
  }

  /** Ends the use of the model and of its tensors. A second call does nothing. */
  @Override
  public void close() {
    if (handle != 0) {
      close(handle);
      handle = 0;
    }
  }

  long requireOpen() {
    if (handle == 0) {
      throw new IllegalStateException("the model is closed");
    }
    return handle;
  }

  private Tensor tensor(int index, boolean output) {
    int[] told = new int[MOST_DIMS + 2];
    ByteBuffer buffer = tensor(requireOpen(), output, index, told);
    if (buffer == null) {
      int count = output ? outputs() : inputs();
      throw new IndexOutOfBoundsException((output ? "output " : "input ") + index + " of " + count);
    }
    int[] shape = new int[told[1]];
    System.arraycopy(told, 2, shape, 0, shape.length);
    return new Tensor(this, buffer, told[0], shape);
  }

  /** What Linux says of 64-bit Arm in /proc/cpuinfo, which apps may read; elsewhere empty. */
  private static String kernelFeatures() {
    try (BufferedReader lines = new BufferedReader(new FileReader("/proc/cpuinfo"))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        if (line.startsWith("Features")) {
          return line + " ";
        }
      }
    } catch (IOException unreadable) {
      return "";
    }
    return "";
  }

  private static native long alignedAt(ByteBuffer buffer, int alignment);

  private static native long open(ByteBuffer program, long programAt, long programBytes, ByteBuffer memory,
      long memoryAt, long memoryBytes, long[] answer);

  private static native void close(long model);

  private static native int run(long model);

  private static native int count(long model, boolean output);

  private static native ByteBuffer tensor(long model, boolean output, int index, int[] shape);

  private static native String statusText(int status);

  private static native String isaName();

  private static native int version();

  private static native void allowDotprod();

  private static native void allowI8mm();
}
