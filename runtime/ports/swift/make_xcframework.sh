#!/bin/sh
# Builds CEdgeQ.xcframework for iPhones, their simulator and Macs. Needs a Mac with Xcode and CMake; not run on one yet.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${BUILD:-$here/.build-native}
headers=$build/headers
mkdir -p "$headers/edgeq"
cp "$here/headers/module.modulemap" "$headers/"
cp "$here/../../include/edgeq/edgeq.h" "$headers/edgeq/"

slices=""
for sdk in iphoneos iphonesimulator macosx; do
  system=iOS
  [ "$sdk" = macosx ] && system=Darwin
  cmake -S "$here/../embed" -B "$build/$sdk" -DEDGEQ_STATIC=ON -DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=$system \
    -DCMAKE_SYSTEM_PROCESSOR=arm64 -DCMAKE_OSX_ARCHITECTURES=arm64 -DCMAKE_OSX_SYSROOT="$sdk"
  cmake --build "$build/$sdk"
  slices="$slices -library $build/$sdk/libedgeq.a -headers $headers"
done
rm -rf "$here/CEdgeQ.xcframework"
# shellcheck disable=SC2086 # one word per option
xcodebuild -create-xcframework $slices -output "$here/CEdgeQ.xcframework"
