"""What is done unless the user says otherwise, whatever the data set; read without torch."""

ATTACKS = ("fgsm", "pgd-20", "cw", "autoattack", "adaptive")
MOST_IMAGES = 2000  # of which features are measured
