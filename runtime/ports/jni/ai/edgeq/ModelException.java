package ai.edgeq;

/** A model that cannot be opened or run; the message says why. */
public final class ModelException extends Exception {
  private static final long serialVersionUID = 1;

  /** The number of the status, as {@code eq_model_status} in edgeq.h counts them. */
  public final int status;

  ModelException(int status, String message) {
    super(message);
    this.status = status;
  }
}
