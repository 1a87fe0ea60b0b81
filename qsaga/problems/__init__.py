"""Problems: from an input model to a binary quadratic model and back to a verified answer."""
