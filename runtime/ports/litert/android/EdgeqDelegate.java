package ai.edgeq;

import org.tensorflow.lite.Delegate;

/**
 * EdgeQ's operators for {@code org.tensorflow.lite.Interpreter} (LiteRT's AAR keeps that package):
 *
 * <pre>{@code
 * try (EdgeqDelegate edgeq = new EdgeqDelegate(4);
 *      Interpreter net = new Interpreter(model, new Interpreter.Options().addDelegate(edgeq))) { ... }
 * }</pre>
 *
 * Close it after the interpreter. Not run on a phone yet.
 */
public final class EdgeqDelegate implements Delegate, AutoCloseable {
  static {
    System.loadLibrary("edgeq_litert_jni");
  }

  private long handle;

  /** @param threads of one operator, 1 to 256 */
  public EdgeqDelegate(int threads) {
    handle = create(threads);
    if (handle == 0) throw new IllegalArgumentException("EdgeQ refuses " + threads + " threads, or has no memory");
  }

  @Override
  public long getNativeHandle() {
    if (handle == 0) throw new IllegalStateException("the delegate is closed");
    return handle;
  }

  @Override
  public void close() {
    if (handle != 0) destroy(handle);
    handle = 0;
  }

  private static native long create(int threads);

  private static native void destroy(long handle);
}
