"""What the rest of the package stands on: private names of Keras, KerasTuner and TensorFlow, and small helpers."""
