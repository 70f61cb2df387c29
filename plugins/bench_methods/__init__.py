"""Methods: each file or folder is one method, and reads from top to bottom like its paper.

autoencoder.py   auto-encoder
barlow_twins.py  Barlow Twins
beta_vae.py      beta-VAE
byol.py          BYOL
ctrl.py          CTRL, without and with labels
dim/             Deep InfoMax
moco.py          MoCo
nac.py           NAC
nac_moco.py      NAC with a momentum encoder and a queue
noisy_dim/       noise-injected Deep InfoMax
references.py    raw pixels, an untrained encoder, supervised training
sela/            SeLa
simclr.py        SimCLR
simsiam.py       SimSiam
swav.py          SwAV
uctrl.py         U-CTRL
vae.py           VAE
vicreg.py        VICReg
"""
