µîOþÉSkoSSCÚÓâiîl:
¸#xsoÇc’­•wÀS D¶5þüC­a®cY1‘@Y@]„