def page(scenes):
    return ""
