import ai.edgeq.Model;
import ai.edgeq.ModelException;
import ai.edgeq.Tensor;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Paths;

/**
 * A model in a Java program: {@code java -Djava.library.path=FOLDER Sample MODEL.pte INPUT OUTPUT}. INPUT holds the bytes
 * of the first input of each run, OUTPUT gets those of the first output.
 */
public final class Sample {
  private Sample() {}

  public static void main(String[] arguments) throws Exception {
    byte[] pte = Files.readAllBytes(Paths.get(arguments[0]));
    byte[] samples = Files.readAllBytes(Paths.get(arguments[1]));
    try (Model model = Model.open(ByteBuffer.wrap(pte))) {
      Tensor x = model.input(0), y = model.output(0);
      int runs = samples.length / x.bytes();
      byte[] outputs = new byte[runs * y.bytes()];
      for (int i = 0; i < runs; i++) {
        x.buffer().put(samples, i * x.bytes(), x.bytes());
        model.run();
        y.buffer().get(outputs, i * y.bytes(), y.bytes());
      }
      Files.write(Paths.get(arguments[2]), outputs);
      System.out.println(Model.isa() + " " + model.inputs() + " " + model.outputs() + " " + y.floats().remaining());
      refuse("output 7", () -> model.output(7));
      model.close();
      refuse("closed", model::run);
      refuse("closed", y::buffer);
    }
    pte[pte.length / 3] ^= 0x55;
    pte[4] ^= 1;
    refuse("", () -> Model.open(ByteBuffer.wrap(pte)));
  }

  private interface Action {
    void run() throws ModelException;
  }

  private static void refuse(String why, Action action) {
    try {
      action.run();
    } catch (ModelException | RuntimeException refused) {
      System.out.println(refused.getClass().getSimpleName() + ": " + refused.getMessage());
      if (refused.getMessage().contains(why)) {
        return;
      }
    }
    throw new AssertionError("was not refused: " + why);
  }
}
