"""How good a detector is, on labelled pictures and on clips. `vedette eval` and the model's card are made of it.

judged     a picture: what is in it, what the detector says; sizes of boxes
boxes      average precision, by class and size
pictures   F1, recall, false pictures, thresholds
interval   bootstrap over pictures; exact intervals of shares and rates
figures    all figures of a set of pictures, each with its interval
folder     pictures and labels on disk ─► judged
marks      clips.csv: what is to be seen in a clip, and from when
clips      what the rules said over a clip ─► verdicts, figures
watch      a clip on disk ─► what the rules say
"""
