"""From a run to something that answers: the bundle that TensorFlow Serving takes, and the certificate that it predicts what was
evaluated."""
