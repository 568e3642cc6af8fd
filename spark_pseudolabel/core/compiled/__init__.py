"""Compiled prediction for boosted trees and forests: the library's own bits, in less time."""
