"""Services: JupyterLab, TensorBoard and a file server on a target, in the browser here."""
