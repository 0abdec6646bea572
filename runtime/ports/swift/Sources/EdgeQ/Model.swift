import CEdgeQ
import Foundation

/// Why a model cannot be opened or run.
public struct ModelError: Error, CustomStringConvertible {
  public let status: Int
  public var description: String { String(cString: eq_model_status_text(eq_model_status(UInt32(status)))) }
}

/// A compiled EdgeQ model (`edgeq compile MODEL --target micro`) that runs in this process.
///
///     let model = try Model(program: Data(contentsOf: url))
///     try model.withInput(0) { $0.copyBytes(from: pixels) }     // before every run
///     try model.run()
///     let scores = try model.floats(0)
///
/// One model is used by one thread at a time.
public final class Model {
  private let program, memory: UnsafeMutableRawPointer
  private let handle: OpaquePointer

  /// Checks the program whole, then makes it ready.
  public init(program data: Data) throws {
    #if arch(arm64)
    var has: Int32 = 0
    var size = MemoryLayout<Int32>.size
    if sysctlbyname("hw.optional.arm.FEAT_DotProd", &has, &size, nil, 0) == 0, has == 1 {
      eq_model_allow_dotprod()
      if sysctlbyname("hw.optional.arm.FEAT_I8MM", &has, &size, nil, 0) == 0, has == 1 { eq_model_allow_i8mm() }
    }
    #endif
    let copy = UnsafeMutableRawPointer.allocate(byteCount: max(1, data.count), alignment: Int(EDGEQ_ALIGNMENT))
    data.copyBytes(to: UnsafeMutableRawBufferPointer(start: copy, count: data.count))
    var room: UnsafeMutableRawPointer?
    var bytes = 0
    var opened: OpaquePointer?
    var status = eq_model_open(&opened, copy, data.count, nil, &bytes)
    while status == EQ_MODEL_NO_MEMORY {
      room?.deallocate()
      let bigger = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: Int(EDGEQ_ALIGNMENT))
      room = bigger
      status = eq_model_open(&opened, copy, data.count, bigger, &bytes)
    }
    guard status == EQ_MODEL_OK, let model = opened, let held = room else {
      room?.deallocate()
      copy.deallocate()
      throw ModelError(status: Int(status.rawValue))
    }
    program = copy
    memory = held
    handle = model
  }

  deinit {
    eq_model_close(handle)
    memory.deallocate()
    program.deallocate()
  }

  public var inputs: Int { Int(eq_model_inputs(handle)) }
  public var outputs: Int { Int(eq_model_outputs(handle)) }

  /// The memory of an input, to be written.
  public func withInput<R>(_ index: Int, _ body: (UnsafeMutableRawBufferPointer) throws -> R) throws -> R {
    var view = eq_tensor_view()
    try check(eq_model_input(handle, UInt32(index), &view))
    return try body(UnsafeMutableRawBufferPointer(start: view.data, count: view.bytes))
  }

  /// Computes the outputs from what the inputs hold.
  public func run() throws { try check(eq_model_run(handle)) }

  /// An output of floats.
  public func floats(_ index: Int) throws -> [Float] {
    var view = eq_tensor_view()
    try check(eq_model_output(handle, UInt32(index), &view))
    guard view.type == Int32(EQ_TYPE_F32), let data = view.data else { throw ModelError(status: Int(EQ_MODEL_BAD_CALL.rawValue)) }
    return Array(UnsafeBufferPointer(start: data.assumingMemoryBound(to: Float.self), count: view.bytes / 4))
  }

  private func check(_ status: eq_model_status) throws {
    guard status == EQ_MODEL_OK else { throw ModelError(status: Int(status.rawValue)) }
  }
}
