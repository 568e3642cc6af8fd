"""How models are made: estimators, committees, cross-fitting, distillation, training rows."""
