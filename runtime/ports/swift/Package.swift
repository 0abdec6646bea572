// swift-tools-version:5.9
// After `sh make_xcframework.sh` on a Mac. Not run on one yet.
import PackageDescription

let package = Package(
  name: "EdgeQ",
  platforms: [.iOS(.v14), .macOS(.v11)],
  products: [.library(name: "EdgeQ", targets: ["EdgeQ"])],
  targets: [
    .binaryTarget(name: "CEdgeQ", path: "CEdgeQ.xcframework"),
    .target(name: "EdgeQ", dependencies: ["CEdgeQ"]),
  ]
)
